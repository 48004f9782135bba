package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// MaxMoves is the largest number of moves of one page.
const MaxMoves = 1000

// Series names the moves of one page: the id of move n, from 0, is the series and n in two bytes. It is the
// caller's to choose, and marked so that the ids of others are seldom taken for it: see IsSeries.
type Series [14]byte

// NewSeries makes a series of 14 bytes that the caller has drawn, by setting the mark.
func NewSeries(drawn [14]byte) Series {
	drawn[6] |= 0xf0
	drawn[8] |= 0xc0
	return drawn
}

// ID is the transfer id of move n.
func (s Series) ID(n int) ID {
	var id ID
	copy(id[:], s[:])
	binary.BigEndian.PutUint16(id[14:], uint16(n))
	return id
}

// SeriesOf takes an id apart; false where it cannot be one of a series.
func SeriesOf(id ID) (s Series, n int, ok bool) {
	copy(s[:], id[:])
	return s, int(binary.BigEndian.Uint16(id[14:])), s.marked()
}

func (s Series) marked() bool { return s[6] >= 0xf0 && s[8] >= 0xc0 }

// Page is many posts recorded in one go and kept as one row: entry First+n stands for Moves[n]. Each is a
// transfer of its own all the same, with an entry, a record and two lines, which Entry, Record and
// LinePage.Line make out of the page.
type Page struct {
	Book     string
	Series   Series
	First    uint64   // entry of the first move
	Recorded int64    // unix ms
	Accounts []string // those the moves name, in ascending order
	Reasons  []string // those the moves name, at most 256
	Moves    []Move
}

// Move is one amount from one account to another. Accounts and reason are places in the page's lists.
type Move struct {
	From, To  int
	Amount    int64 // more than 0
	Effective int64 // unix ms; 0 is when recorded
	Reason    int
}

// Last is the number of the page's last entry.
func (p *Page) Last() uint64 { return p.First + uint64(len(p.Moves)) - 1 }

// Has says whether entry seq is on the page.
func (p *Page) Has(seq uint64) bool { return seq >= p.First && seq-p.First < uint64(len(p.Moves)) }

// Entry is an entry of the page, which must have it.
func (p *Page) Entry(seq uint64) Entry {
	t := p.transfer(int(seq - p.First))
	return Entry{Seq: seq, Recorded: p.Recorded, Op: OpPost, Transfer: &t}
}

// Record is the record of an entry of the page, as it was when recorded.
func (p *Page) Record(seq uint64) Record {
	t := p.transfer(int(seq - p.First))
	return Record{ID: t.ID, Seq: seq, Body: t.Body(), Op: OpPost, Status: StatusPosted}
}

func (p *Page) transfer(n int) Transfer {
	m := p.Moves[n]
	return Transfer{
		ID: p.Series.ID(n), Op: OpPost, Book: p.Book, Effective: m.Effective, Reason: p.Reasons[m.Reason],
		Legs: []Leg{
			{Account: p.Accounts[m.From], Change: -m.Amount}, {Account: p.Accounts[m.To], Change: m.Amount},
		},
	}
}

// LinePage is the lines that one account has of one page, kept as one row.
type LinePage struct {
	Book    string
	Account string
	Before  Line // number and balances of the line before the first; zero where there is none
	Parts   []LinePart
}

// LinePart is what a line of a LinePage does not share with the others.
type LinePart struct {
	Seq    uint64
	Change int64
}

// Last is the number of the last line.
func (p *LinePage) Last() uint64 { return p.Before.N + uint64(len(p.Parts)) }

// Has says whether line n is on the page.
func (p *LinePage) Has(n uint64) bool { return n > p.Before.N && n <= p.Last() }

// Line is a line of the page, which must have it.
func (p *LinePage) Line(n uint64) Line {
	l := Line{
		Book: p.Book, Account: p.Account, N: n, Posted: p.Before.Posted, HeldOut: p.Before.HeldOut,
		HeldIn: p.Before.HeldIn,
	}
	for _, part := range p.Parts[:n-p.Before.N] {
		l.Seq, l.Change = part.Seq, part.Change
		l.Posted += part.Change
	}
	return l
}

// pageVersion and linePageVersion are the first bytes of a page's and a line page's encoding.
const (
	pageVersion     = 1
	linePageVersion = 1
)

// What a page has of the columns that are mostly the same in every row.
const (
	hasEffective = 1
	hasReasons   = 2
)

// Encode is the page as bytes: version, columns there are, series, first entry, time, book, accounts and
// reasons, the number of moves, and then the moves column by column. Numbers are uvarints; texts are their
// length and their bytes.
func (p *Page) Encode() []byte {
	b := make([]byte, 0, 64+32*len(p.Accounts)+5*len(p.Moves))
	b = append(b, pageVersion, p.columns())
	b = append(b, p.Series[:]...)
	b = binary.AppendUvarint(b, p.First)
	b = binary.AppendUvarint(b, uint64(p.Recorded))
	b = appendShort(b, p.Book)
	b = appendTexts(b, p.Accounts)
	b = appendTexts(b, p.Reasons)
	return appendMoves(b, p.Moves, p.columns())
}

func (p *Page) columns() byte {
	columns := byte(0)
	for _, m := range p.Moves {
		if m.Effective != 0 {
			columns |= hasEffective
		}
	}
	if len(p.Reasons) > 1 {
		columns |= hasReasons
	}
	return columns
}

func appendMoves(b []byte, moves []Move, columns byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(moves)))
	for _, m := range moves {
		b = binary.AppendUvarint(b, uint64(m.From))
		b = binary.AppendUvarint(b, uint64(m.To))
		b = binary.AppendUvarint(b, uint64(m.Amount))
		if columns&hasEffective != 0 {
			b = binary.AppendUvarint(b, uint64(m.Effective))
		}
		if columns&hasReasons != 0 {
			b = append(b, byte(m.Reason))
		}
	}
	return b
}

func appendShort(b []byte, text string) []byte {
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

func appendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, text := range texts {
		b = appendShort(b, text)
	}
	return b
}

// DecodePage reads what Encode wrote. It keeps to the limits, and to places that the lists have.
func DecodePage(b []byte) (Page, error) {
	d := packed{decoder{rest: b}}
	version, columns := d.byte(), d.byte()
	if d.err == nil && version != pageVersion {
		return Page{}, fmt.Errorf("ledger: decode page: version %d is not known; update this program",
			version)
	}
	var p Page
	copy(p.Series[:], d.take(len(p.Series)))
	p.First, p.Recorded = d.uvarint(), int64(d.uvarint())
	p.Book = d.short(MaxNameBytes)
	p.Accounts = d.texts(2*MaxMoves, MaxIDBytes)
	p.Reasons = d.texts(256, MaxReasonBytes)
	p.Moves = d.moves(columns, len(p.Accounts), len(p.Reasons))
	if err := d.end(); err != nil {
		return Page{}, fmt.Errorf("ledger: decode page: %w", err)
	}
	return p, nil
}

// EncodeMoves is a list of accounts and moves among them as bytes, as in a page. Reasons are left out.
func EncodeMoves(accounts []string, moves []Move) []byte {
	columns := (&Page{Moves: moves}).columns()
	b := make([]byte, 0, 16+32*len(accounts)+5*len(moves))
	b = append(b, pageVersion, columns)
	return appendMoves(appendTexts(b, accounts), moves, columns)
}

// DecodeMoves reads what EncodeMoves wrote.
func DecodeMoves(b []byte) (accounts []string, moves []Move, err error) {
	d := packed{decoder{rest: b}}
	version, columns := d.byte(), d.byte()
	if d.err == nil && (version != pageVersion || columns&hasReasons != 0) {
		return nil, nil, fmt.Errorf("ledger: decode moves: version %d, columns %d are not known; update"+
			" this program", version, columns)
	}
	accounts = d.texts(2*MaxMoves, MaxIDBytes)
	moves = d.moves(columns, len(accounts), 1)
	if err := d.end(); err != nil {
		return nil, nil, fmt.Errorf("ledger: decode moves: %w", err)
	}
	return accounts, moves, nil
}

// Encode is the line page as bytes, without book and account: version, number and balances before, and each
// line's distance to the entry before and its change. Changes and balances are signed varints.
func (p *LinePage) Encode() []byte {
	b := make([]byte, 0, 48+8*len(p.Parts))
	b = append(b, linePageVersion)
	b = binary.AppendUvarint(b, p.Before.N)
	b = binary.AppendVarint(b, p.Before.Posted)
	b = binary.AppendVarint(b, p.Before.HeldOut)
	b = binary.AppendVarint(b, p.Before.HeldIn)
	b = binary.AppendUvarint(b, uint64(len(p.Parts)))
	seq := uint64(0)
	for _, part := range p.Parts {
		b = binary.AppendUvarint(b, part.Seq-seq)
		b = binary.AppendVarint(b, part.Change)
		seq = part.Seq
	}
	return b
}

// DecodeLinePage reads what Encode wrote.
func DecodeLinePage(book, account string, b []byte) (LinePage, error) {
	d := packed{decoder{rest: b}}
	if version := d.byte(); d.err == nil && version != linePageVersion {
		return LinePage{}, fmt.Errorf("ledger: decode lines: version %d is not known; update this program",
			version)
	}
	p := LinePage{Book: book, Account: account}
	p.Before.N = d.uvarint()
	p.Before.Posted, p.Before.HeldOut, p.Before.HeldIn = d.varint(), d.varint(), d.varint()
	n := d.count(MaxMoves)
	p.Parts = make([]LinePart, 0, n)
	seq := uint64(0)
	for range n {
		seq += d.uvarint()
		p.Parts = append(p.Parts, LinePart{Seq: seq, Change: d.varint()})
	}
	if err := d.end(); err != nil {
		return LinePage{}, fmt.Errorf("ledger: decode lines: %w", err)
	}
	return p, nil
}

// packed is a decoder of short numbers.
type packed struct{ decoder }

var errPacked = errors.New("a number or a length is out of bounds")

func (d *packed) uvarint() uint64 {
	n, used := binary.Uvarint(d.rest)
	return d.number(n, used)
}

func (d *packed) varint() int64 {
	n, used := binary.Varint(d.rest)
	return int64(d.number(uint64(n), used))
}

func (d *packed) number(n uint64, used int) uint64 {
	if d.err == nil && used <= 0 {
		d.err = errShort
	}
	if d.err != nil {
		return 0
	}
	d.rest = d.rest[used:]
	return n
}

// count is a number of at most limit.
func (d *packed) count(limit int) int {
	n := d.uvarint()
	if d.err == nil && n > uint64(limit) {
		d.err = errPacked
	}
	if d.err != nil {
		return 0
	}
	return int(n)
}

func (d *packed) short(limit int) string { return string(d.take(d.count(limit))) }

func (d *packed) texts(limit, bytes int) []string {
	n := d.count(limit)
	texts := make([]string, 0, n)
	for range n {
		texts = append(texts, d.short(bytes))
	}
	return texts
}

func (d *packed) moves(columns byte, accounts, reasons int) []Move {
	if d.err == nil && columns&^(hasEffective|hasReasons) != 0 {
		d.err = errPacked
	}
	n := d.count(MaxMoves)
	moves := make([]Move, 0, n)
	for range n {
		m := Move{From: d.count(accounts), To: d.count(accounts), Amount: int64(d.uvarint())}
		if columns&hasEffective != 0 {
			m.Effective = int64(d.uvarint())
		}
		if columns&hasReasons != 0 {
			m.Reason = int(d.byte())
		}
		if d.err == nil && (m.From >= accounts || m.To >= accounts || m.Reason >= reasons) {
			d.err = errPacked
		}
		if d.err != nil {
			return nil
		}
		moves = append(moves, m)
	}
	return moves
}

func (d *packed) end() error {
	if d.err == nil && len(d.rest) > 0 {
		return fmt.Errorf("%d bytes are left over", len(d.rest))
	}
	return d.err
}

// Reason is the place of a reason in the page's list, which is made longer where it is not there.
func (p *Page) Reason(reason string) int {
	at := slices.Index(p.Reasons, reason)
	if at < 0 {
		at = len(p.Reasons)
		p.Reasons = append(p.Reasons, reason)
	}
	return at
}
