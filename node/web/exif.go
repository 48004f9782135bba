package web

import (
	"bytes"
	"encoding/binary"
)

const (
	jpegStart       = 0xd8
	jpegScan        = 0xda // from here on there are points, no more notes
	jpegNotes       = 0xe1 // APP1, where cameras put EXIF
	tagOrientation  = 0x0112
	bytesOfEntry    = 12
	maxEntriesTried = 256
)

// orientationOf finds how the camera was held in the notes of a JPEG: 1 to 8, as in EXIF; 1 where it is not
// said. Nothing else of the notes is looked at.
func orientationOf(raw []byte) int {
	if len(raw) < 4 || raw[0] != 0xff || raw[1] != jpegStart {
		return 1
	}
	for rest := raw[2:]; len(rest) >= 4 && rest[0] == 0xff && rest[1] != jpegScan; {
		size := int(binary.BigEndian.Uint16(rest[2:]))
		if size < 2 || len(rest) < 2+size {
			return 1
		}
		notes, isExif := bytes.CutPrefix(rest[4:2+size], []byte("Exif\x00\x00"))
		if rest[1] == jpegNotes && isExif {
			return orientationIn(notes)
		}
		rest = rest[2+size:]
	}
	return 1
}

// orientationIn reads the first directory of a TIFF block.
func orientationIn(tiff []byte) int {
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.BigEndian
	if tiff[0] == 'I' {
		order = binary.LittleEndian
	}
	at := order.Uint32(tiff[4:])
	if uint64(at)+2 > uint64(len(tiff)) {
		return 1
	}
	entries := tiff[at+2:]
	for range min(int(order.Uint16(tiff[at:])), maxEntriesTried, len(entries)/bytesOfEntry) {
		if order.Uint16(entries) == tagOrientation {
			if found := int(order.Uint16(entries[8:])); found >= 1 && found <= 8 {
				return found
			}
			return 1
		}
		entries = entries[bytesOfEntry:]
	}
	return 1
}
