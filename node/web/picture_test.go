package web

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"
)

// quarters is a picture whose corners are red, green, blue and white, clockwise from the top left.
func quarters(width, height int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := [2][2]color.RGBA{
				{{R: 255, A: 255}, {G: 255, A: 255}}, {{R: 255, G: 255, B: 255, A: 255}, {B: 255, A: 255}},
			}[2*y/height][2*x/width]
			img.SetRGBA(x, y, c)
		}
	}
	return img
}

func asJPEG(t *testing.T, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withNotes puts an EXIF block with an orientation and a place into a JPEG.
func withNotes(raw []byte, orientation uint16, order binary.AppendByteOrder) []byte {
	mark := "MM"
	if order == binary.AppendByteOrder(binary.LittleEndian) {
		mark = "II"
	}
	tiff := order.AppendUint16([]byte(mark), 42)
	tiff = order.AppendUint32(tiff, 8)
	tiff = order.AppendUint16(tiff, 2)
	for _, entry := range [][2]uint16{{0x010f, 0}, {0x0112, orientation}} {
		tiff = order.AppendUint16(tiff, entry[0])
		tiff = order.AppendUint16(tiff, 3)
		tiff = order.AppendUint32(tiff, 1)
		tiff = order.AppendUint16(tiff, entry[1])
		tiff = order.AppendUint16(tiff, 0)
	}
	tiff = append(tiff, "GPS 53.74 -2.01"...)
	notes := append([]byte("Exif\x00\x00"), tiff...)
	block := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(notes)+2))
	return append(append(append([]byte{0xff, 0xd8}, block...), notes...), raw[2:]...)
}

func corner(t *testing.T, img image.Image, x, y int) string {
	t.Helper()
	r, g, b, _ := img.At(x, y).RGBA()
	name := ""
	for i, part := range []uint32{r, g, b} {
		if part > 0x8000 {
			name += string("RGB"[i])
		}
	}
	return name
}

// TestUpright turns a picture held in each of the eight ways: the corners come out where they were seen.
func TestUpright(t *testing.T) {
	want := map[uint16]string{
		0: "R G B RGB", 1: "R G B RGB", 2: "G R RGB B", 3: "B RGB R G", 4: "RGB B G R", 5: "R RGB B G",
		6: "RGB R G B", 7: "B G R RGB", 8: "G B RGB R", 9: "R G B RGB",
	}
	for orientation, corners := range want {
		for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
			got, err := smaller(withNotes(asJPEG(t, quarters(200, 100)), orientation, order))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(got, []byte("GPS")) || bytes.Contains(got, []byte("Exif")) {
				t.Error("the notes of the camera are still in the picture")
			}
			img, err := jpeg.Decode(bytes.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			w, h := img.Bounds().Dx(), img.Bounds().Dy()
			if turned := orientation >= 5 && orientation <= 8; turned != (h > w) {
				t.Errorf("orientation %d: %d by %d", orientation, w, h)
			}
			seen := strings.Join([]string{
				corner(t, img, 2, 2), corner(t, img, w-3, 2), corner(t, img, w-3, h-3), corner(t, img, 2,
					h-3),
			}, " ")
			if seen != corners {
				t.Errorf("orientation %d: corners %s, want %s", orientation, seen, corners)
			}
		}
	}
}

func TestSmaller(t *testing.T) {
	noise := image.NewRGBA(image.Rect(0, 0, 1600, 1200))
	source := rand.New(rand.NewPCG(1, 2))
	for i := range noise.Pix {
		noise.Pix[i] = byte(source.Uint32())
	}
	glass := image.NewNRGBA(image.Rect(0, 0, 3000, 10)) // to be seen through
	var transparent bytes.Buffer
	if err := png.Encode(&transparent, glass); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"large": asJPEG(t, quarters(4000, 3000)), "noise": asJPEG(t, noise), "small": asJPEG(t,
			quarters(3, 2)),
		"thin": transparent.Bytes(),
	} {
		got, err := smaller(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := smaller(raw)
		if err != nil || !bytes.Equal(got, again) {
			t.Errorf("%s: the same picture twice gives two (%v): a form sent twice would be two", name, err)
		}
		config, kind, err := image.DecodeConfig(bytes.NewReader(got))
		if err != nil || kind != "jpeg" || config.Width > maxSide || config.Height > maxSide ||
			len(got) > maxStoredBytes {
			t.Errorf("%s: %s of %d by %d, %d bytes, %v", name, kind, config.Width, config.Height, len(got),
				err)
		}
		if img, _ := jpeg.Decode(bytes.NewReader(got)); name == "thin" && corner(t, img, 1, 1) != "RGB" {
			t.Errorf("what one can see through is not white")
		}
	}
}

func TestSmallerRefuses(t *testing.T) {
	huge := asJPEG(t, quarters(8, 8))
	at := bytes.Index(huge, []byte{0xff, 0xc0}) // the frame header: height and width follow
	binary.BigEndian.PutUint16(huge[at+5:], 60000)
	binary.BigEndian.PutUint16(huge[at+7:], 60000)
	damaged := asJPEG(t, quarters(300, 300))
	for name, raw := range map[string][]byte{
		"words": []byte("no picture"), "gif": []byte("GIF89a\x01\x00\x01\x00"), "huge": huge,
		"damaged": damaged[:len(damaged)/2], "script": []byte("<svg onload=alert(1)>"), "empty": {},
	} {
		if _, err := smaller(raw); err == nil {
			t.Errorf("%s was taken for a picture", name)
		} else if _, ok := refusalOf(err); !ok {
			t.Errorf("%s: %v is not a sentence for people", name, err)
		}
	}
}

func FuzzOrientation(f *testing.F) {
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x08Exif\x00\x00"))
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x14Exif\x00\x00MM\x00*\xff\xff\xff\xff\x00\x01"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got := orientationOf(raw); got < 1 || got > 8 {
			t.Errorf("orientation %d", got)
		}
	})
}
