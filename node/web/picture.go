package web

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	_ "image/png" // people send screen shots and drawings
	"net/http"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
)

const (
	maxSide        = 1000      // pixels of a picture's longer side, as it is kept
	maxStoredBytes = 190 << 10 // below the circle's own limit
	bestQuality    = 85
	worstQuality   = 35
)

// smaller makes a picture fit to be kept: at most maxSide pixels wide and high, the right way up, as a JPEG
// of at most maxStoredBytes. Nothing but the pixels is carried over: not where it was taken, nor when, nor
// with which telephone.
func smaller(raw []byte) ([]byte, error) {
	config, format, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil || (format != "jpeg" && format != "png") {
		return nil, machine.Refuse("bad_picture",
			"This picture cannot be read. Choose a photo (JPEG) or a drawing"+
				" (PNG).")
	}
	if int64(config.Width)*int64(config.Height) > MaxPixels {
		return nil, machine.Refuse("too_large", "This picture is %d by %d points, more than can be taken."+
			" Choose a smaller one.", config.Width, config.Height)
	}
	decoded, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, machine.Refuse("bad_picture", "This picture is damaged. Choose another one.")
	}
	turned := upright(shrink(decoded), orientationOf(raw))
	for quality := bestQuality; quality >= worstQuality; quality -= 10 {
		var out bytes.Buffer
		if err := jpeg.Encode(&out, turned, &jpeg.Options{Quality: quality}); err != nil {
			return nil, fmt.Errorf("write the picture: %w", err)
		}
		if out.Len() <= maxStoredBytes {
			return out.Bytes(), nil
		}
	}
	return nil, machine.Refuse("too_large",
		"This picture has too many fine details to be kept. Choose another one.")
}

// shrink scales a picture down so that neither side is longer than maxSide: each new point is the mean of the
// points it stands for. What one can see through becomes white.
func shrink(src image.Image) *image.RGBA {
	from := src.Bounds()
	width, height := fit(from.Dx(), from.Dy())
	out := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		top, bottom := y*from.Dy()/height, (y+1)*from.Dy()/height
		band := image.NewRGBA(image.Rect(0, 0, from.Dx(), bottom-top))
		draw.Draw(band, band.Bounds(), image.White, image.Point{}, draw.Src)
		draw.Draw(band, band.Bounds(), src, image.Pt(from.Min.X, from.Min.Y+top), draw.Over)
		for x := range width {
			out.SetRGBA(x, y, mean(band, x*from.Dx()/width, (x+1)*from.Dx()/width))
		}
	}
	return out
}

func fit(width, height int) (int, int) {
	longer := max(width, height)
	if longer <= maxSide {
		return width, height
	}
	return max(1, width*maxSide/longer), max(1, height*maxSide/longer)
}

// mean is the mean of a band's points between two columns.
func mean(band *image.RGBA, left, right int) color.RGBA {
	var red, green, blue, points int
	for y := range band.Bounds().Dy() {
		row := band.Pix[y*band.Stride+left*4 : y*band.Stride+right*4]
		for i := 0; i < len(row); i += 4 {
			red, green, blue = red+int(row[i]), green+int(row[i+1]), blue+int(row[i+2])
			points++
		}
	}
	return color.RGBA{uint8(red / points), uint8(green / points), uint8(blue / points), 0xff}
}

// upright turns a picture the way its orientation (1 to 8, as in EXIF) says it was held.
func upright(src *image.RGBA, orientation int) *image.RGBA {
	w, h := src.Bounds().Dx(), src.Bounds().Dy()
	place := func(x, y int) (int, int) {
		switch orientation {
		case 2:
			return w - 1 - x, y
		case 3:
			return w - 1 - x, h - 1 - y
		case 4:
			return x, h - 1 - y
		case 5:
			return y, x
		case 6:
			return h - 1 - y, x
		case 7:
			return h - 1 - y, w - 1 - x
		default: // 8
			return y, w - 1 - x
		}
	}
	if orientation < 2 || orientation > 8 {
		return src
	}
	size := image.Rect(0, 0, w, h)
	if orientation >= 5 {
		size = image.Rect(0, 0, h, w)
	}
	out := image.NewRGBA(size)
	for y := range h {
		for x := range w {
			toX, toY := place(x, y)
			out.SetRGBA(toX, toY, src.RGBAAt(x, y))
		}
	}
	return out
}

// prepare is smaller for one picture at a time, for a large one takes a good part of a node's memory.
func (p *Pages) prepare(ctx context.Context, raw []byte) ([]byte, error) {
	select {
	case p.cookery <- struct{}{}:
		defer func() { <-p.cookery }()
		return smaller(raw)
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for other pictures: %w", ctx.Err())
	}
}

// picture serves the picture that came with a gift. It is shown as a picture only, whatever is in it.
func (p *Pages) picture(v *visit) error {
	id, err := machine.ParseID(v.r.PathValue("transfer"))
	if err != nil {
		return machine.Refuse("picture_unknown", "There is no picture here.")
	}
	shown, err := ask[coin.Shown](v, v.self(), "coin.picture", filled(coin.PictureQuery{Transfer: id}))
	if err != nil {
		return err
	}
	kind := http.DetectContentType(shown.Data)
	if kind != "image/jpeg" && kind != "image/png" {
		return machine.Refuse("picture_unknown", "There is no picture here.")
	}
	h := v.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "private, max-age=600")
	v.w.Write(shown.Data) //nolint:errcheck // the reader is gone
	return nil
}
