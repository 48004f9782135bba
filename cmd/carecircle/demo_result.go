package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"

	"github.com/carecircle/carecircle/circle/coin"
)

// demoResult is what demo --once prints.
type demoResult struct {
	Circles []demoBooks `json:"circles"`
	Cases   []demoCase  `json:"cases"`
}

type demoBooks struct {
	Name       string         `json:"name"`
	Accounts   []demoAccount  `json:"accounts"`
	SumMinutes int64          `json:"sumMinutes"`
	Alliances  []demoAlliance `json:"alliances"`
}

type demoAccount struct {
	Account string `json:"account"`
	Minutes int64  `json:"minutes"`
}

type demoAlliance struct {
	With         string `json:"with"`
	Minutes      int64  `json:"minutes"`
	LimitMinutes int64  `json:"limitMinutes"`
}

type demoCase struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Code    string `json:"code"`
	Says    string `json:"says"`
}

func (d *demo) result(ctx context.Context, cases []demoCase) (demoResult, error) {
	out := demoResult{Cases: cases}
	for _, p := range []*player{d.hub, d.hb, d.bh} {
		books, err := p.books(ctx)
		if err != nil {
			return demoResult{}, err
		}
		out.Circles = append(out.Circles, books)
	}
	return out, nil
}

// books reads a node's closing balances. People without coins are left out.
func (p *player) books(ctx context.Context) (demoBooks, error) {
	var overview coin.Overview
	if err := p.read(ctx, p.operator(), "coin.overview", &overview); err != nil {
		return demoBooks{}, err
	}
	out := demoBooks{Name: p.node.Config.Name, Accounts: []demoAccount{}, Alliances: []demoAlliance{}}
	for _, a := range overview.Accounts {
		out.SumMinutes += a.Minutes
		name := a.Account
		switch a.Kind {
		case coin.KindPerson:
			if a.Minutes == 0 {
				continue
			}
			name = a.Name
		case coin.KindPlace:
			name = "place " + a.Name
		case coin.KindCircle:
			name = "account of " + a.Name
		}
		out.Accounts = append(out.Accounts, demoAccount{Account: name, Minutes: a.Minutes})
	}
	all, err := p.alliances(ctx)
	if err != nil {
		return demoBooks{}, err
	}
	for _, a := range all {
		if a.State == "in-force" {
			out.Alliances = append(out.Alliances, demoAlliance{
				With: a.Name, Minutes: a.Minutes,
				LimitMinutes: a.LimitMinutes,
			})
		}
	}
	return out, nil
}

func showDemo(w io.Writer, format string, result demoResult) error {
	if format == "json" {
		return show(w, format, result)
	}
	type row struct {
		Circle  string `json:"circle"`
		Account string `json:"account"`
		Coins   string `json:"coins"`
		Minutes int64  `json:"minutes"`
	}
	rows := []row{}
	for _, c := range result.Circles {
		for _, a := range c.Accounts {
			rows = append(rows, row{c.Name, a.Account, coin.Coins(a.Minutes), a.Minutes})
		}
		rows = append(rows, row{c.Name, "sum", coin.Coins(c.SumMinutes), c.SumMinutes})
	}
	if err := show(w, format, rows); err != nil || format == "csv" {
		return err
	}
	for _, c := range result.Cases {
		if _, err := fmt.Fprintf(w, "\n%s: %s\n  %s\n", c.Name, c.Outcome, c.Says); err != nil {
			return err
		}
	}
	return nil
}

// gardenPicture draws Ben's photo: there are no real people or places in the demo.
func gardenPicture() ([]byte, error) {
	const width, height = 480, 320
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.Set(x, y, gardenColour(x, y, height))
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 80}); err != nil {
		return nil, fmt.Errorf("draw the garden: %w", err)
	}
	return out.Bytes(), nil
}

// gardenColour is sky, a sun, sunflowers, and rows of beans.
func gardenColour(x, y, height int) color.RGBA {
	near := func(cx, cy, r int) bool { return (x-cx)*(x-cx)+(y-cy)*(y-cy) < r*r }
	switch {
	case near(400, 60, 34):
		return color.RGBA{255, 214, 90, 255}
	case y > height-60 && (x/24)%2 == 0:
		return color.RGBA{96, 66, 40, 255}
	case y > height-60:
		return color.RGBA{120, 86, 54, 255}
	}
	for i := range 9 {
		cx, cy := 30+i*52, 120+(i*37)%60
		switch {
		case near(cx, cy, 9):
			return color.RGBA{92, 58, 20, 255}
		case i%2 == 0 && near(cx, cy, 22):
			return color.RGBA{240, 180, 30, 255}
		case x > cx-4 && x < cx+4 && y > cy, near(cx+10, cy+70, 14), near(cx-10, cy+100, 16):
			return color.RGBA{58, 124, 52, 255}
		}
	}
	return color.RGBA{190, 222, 240, 255}
}
