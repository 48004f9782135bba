package web

import (
	"encoding/base64"
	"strings"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// meBody is what templates/me/me.html shows.
type meBody struct {
	form
	ShownName     string
	Seen, Journey bool
	Own           bool // not somebody else's: keys and sessions are shown
	Passkeys      []passkey
	DeviceName    string
	Sessions      []session
	AutoGift      autoGiftBody
	ActForMe      []string
	Offer         bool
}

type passkey struct{ ID, Name, Added, FormID string }

type session struct {
	ID, Opened, Until, FormID string
	Current                   bool
}

func (p *Pages) me(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	about, err := ask[member.Me](v, v.by, "member.me", nil)
	if err != nil {
		return err
	}
	return p.showMe(v, meBody{form: f, ShownName: about.Name, Seen: about.Seen, Journey: about.Journey})
}

func (p *Pages) showMe(v *visit, b meBody) error {
	about, err := ask[member.Me](v, v.by, "member.me", nil)
	if err != nil {
		return err
	}
	b.Own = v.by.OnBehalfOf == ""
	b.Offer = b.Own && v.r.URL.Query().Get("offer") != ""
	b.DeviceName = deviceName(v.r.UserAgent())
	b.Passkeys, b.Sessions, b.ActForMe = []passkey{}, []session{}, []string{}
	for _, k := range about.Passkeys {
		id, err := p.cfg.NewID()
		if err != nil {
			return err
		}
		b.Passkeys = append(b.Passkeys, passkey{
			ID: base64.RawURLEncoding.EncodeToString(k.ID), Name: k.Name, Added: p.day(k.Added),
			FormID: id.String(),
		})
	}
	_, here, _ := v.session()
	for _, s := range about.Sessions {
		id, err := p.cfg.NewID()
		if err != nil {
			return err
		}
		if s.Until > p.cfg.Now().UnixMilli() {
			b.Sessions = append(b.Sessions, session{
				ID: s.Session.String(), Opened: p.when(s.Opened), Until: p.when(s.Until), FormID: id.String(),
				Current: s.Session == here.Session,
			})
		}
	}
	for _, other := range about.ActForMe {
		b.ActForMe = append(b.ActForMe, other.Name)
	}
	mine, err := ask[coin.Mine](v, v.by, "coin.mine", nil)
	if err != nil {
		return err
	}
	if b.AutoGift, err = autoGiftOf(v, mine); err != nil {
		return err
	}
	return v.show(b.status, "me/me", "My settings", wayBack{}, b)
}

// deviceName guesses what a person may call the device they hold.
func deviceName(agent string) string {
	for _, known := range []struct{ mark, name string }{
		{"iPad", "My iPad"}, {"iPhone", "My iPhone"}, {"Android", "My phone"},
	} {
		if strings.Contains(agent, known.mark) {
			return known.name
		}
	}
	return "My computer"
}

// choose saves what a person shows of themselves: from their settings, or on their first visit.
func (p *Pages) choose(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	f, err := v.sentForm()
	if err != nil {
		return err
	}
	first := v.typed("first") != ""
	name, seen, journey := v.typed("shownName"), v.typed("seen") != "", v.typed("journey") != ""
	_, err = do[machine.None](v, v.by, f.ID, "member.choose", member.Choose{
		Name: machine.Text("", name), Seen: seen, Journey: journey,
	})
	switch {
	case err == nil && first:
		return v.seeOther("/me?offer=passkey")
	case err == nil:
		return v.done("/me", "chosen")
	}
	if err := f.take(v, err, fields{"name_missing": "shownName", "bad_text": "shownName"}); err != nil {
		return err
	}
	if first {
		return p.showWelcome(v, welcomeBody{form: f, ShownName: name, Seen: seen, Journey: journey})
	}
	return p.showMe(v, meBody{form: f, ShownName: name, Seen: seen, Journey: journey})
}

func (p *Pages) removePasskey(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	id, err := base64.RawURLEncoding.DecodeString(v.typed("passkey"))
	if err != nil {
		return machine.Refuse("passkey_unknown", "You have no such passkey.")
	}
	_, err = do[machine.None](v, v.self(), v.typed("id"), "member.passkey-remove",
		member.RemovePasskey{ID: id})
	if err != nil {
		return err
	}
	return v.done("/me", "passkey-off")
}

// closeSessions signs out one session, or all but this one. The ids of the further commands are drawn here:
// closing a session twice does no harm.
func (p *Pages) closeSessions(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	_, here, _ := v.session()
	for _, s := range v.me.Sessions {
		all := v.typed("all") != "" && s.Session != here.Session
		if !all && s.Session.String() != v.typed("session") {
			continue
		}
		id, err := p.cfg.NewID()
		if err != nil {
			return err
		}
		_, err = do[machine.None](v, v.self(), id.String(), "member.signout",
			member.CloseSession{Session: s.Session})
		if err != nil {
			return err
		}
	}
	return v.done("/me", "closed")
}
