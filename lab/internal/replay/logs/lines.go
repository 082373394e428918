package logs

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
)

// The longest line that is read, in bytes. What is longer is a bad line.
const (
	maxLine  = 1 << 20
	maxBatch = 16 << 20 // of OTLP, which has a batch of spans on a line
)

var batch = []byte(`{"resourceSpans"`)

// lines reads a file line by line. Of the file it keeps one line.
type lines struct {
	reader *bufio.Reader
	long   []byte // a line that does not fit into the reader's buffer
	number int    // of the line that was read last
}

// newLines unpacks gzip. A file that no text begins with is refused.
func newLines(r io.Reader) (*lines, error) {
	l := &lines{reader: bufio.NewReaderSize(r, 64<<10)}
	for again := true; again; {
		again = false
		begin, err := l.reader.Peek(4)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, &ReadError{Line: 1, Err: err}
		}
		switch {
		case len(begin) == 0:
			return nil, &FormatError{Reason: "the file is empty", Empty: true}
		case bytes.HasPrefix(begin, []byte{0x1f, 0x8b}):
			unpacked, err := gzip.NewReader(l.reader)
			if err != nil {
				return nil, &ReadError{Line: 1, Err: gzipError(err)}
			}
			l.reader = bufio.NewReaderSize(gzipReader{unpacked}, 64<<10)
			begin, err = l.reader.Peek(2)
			switch {
			case err != nil && !errors.Is(err, io.EOF):
				return nil, &ReadError{Line: 1, Err: err}
			case bytes.HasPrefix(begin, []byte{0x1f, 0x8b}):
				return nil, &FormatError{Reason: "the file is packed with gzip twice: unpack it once"}
			}
			again = true
		case bytes.HasPrefix(begin, []byte{0x28, 0xb5, 0x2f, 0xfd}):
			return nil, &FormatError{Reason: "the file is packed with zstd: unpack it first, only gzip is read as it is"}
		case bytes.HasPrefix(begin, []byte("BZh")):
			return nil, &FormatError{Reason: "the file is packed with bzip2: unpack it first, only gzip is read as it is"}
		case bytes.HasPrefix(begin, []byte{0xfd, '7', 'z', 'X'}):
			return nil, &FormatError{Reason: "the file is packed with xz: unpack it first, only gzip is read as it is"}
		case bytes.HasPrefix(begin, []byte("PK\x03\x04")):
			return nil, &FormatError{Reason: "the file is a zip archive: unpack it first, only gzip is read as it is"}
		case bytes.HasPrefix(begin, []byte{0xff, 0xfe}), bytes.HasPrefix(begin, []byte{0xfe, 0xff}):
			return nil, &FormatError{Reason: "the file is text in UTF-16: convert it to UTF-8"}
		case bytes.HasPrefix(begin, []byte{0xef, 0xbb, 0xbf}):
			_, _ = l.reader.Discard(3)
		}
	}
	return l, nil
}

// next returns a line without its end, valid until next is called again. It returns io.EOF after the last one. Of a line that
// is too long it returns the beginning, and errLong.
func (l *lines) next() ([]byte, error) {
	line, err := l.reader.ReadSlice('\n')
	if len(line) == 0 && err != nil {
		return nil, l.fail(err)
	}
	l.number++
	if errors.Is(err, bufio.ErrBufferFull) {
		return l.rest(line)
	}
	if err != nil && !errors.Is(err, io.EOF) { // half a line is none
		l.number--
		return nil, l.fail(err)
	}
	return trim(line), nil
}

// rest reads what is left of a line whose beginning has filled the buffer.
func (l *lines) rest(line []byte) ([]byte, error) {
	l.long = append(l.long[:0], line...)
	over, most := false, maxLine
	if bytes.HasPrefix(line, batch) {
		most = maxBatch
	}
	for {
		line, err := l.reader.ReadSlice('\n')
		if len(l.long)+len(line) <= most+2 {
			l.long = append(l.long, line...)
		} else {
			over = true
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			l.number--
			return nil, l.fail(err)
		}
		text := trim(l.long)
		if over || len(text) > most {
			return text[:min(len(text), most)], errLong
		}
		return text, nil
	}
}

func (l *lines) fail(err error) error {
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return &ReadError{Line: l.number + 1, Err: err}
}

// trim cuts "\n" or "\r\n" off.
func trim(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

// gzipReader says in its errors what they are about.
type gzipReader struct{ reader *gzip.Reader }

func (g gzipReader) Read(p []byte) (int, error) {
	n, err := g.reader.Read(p)
	return n, gzipError(err)
}

func gzipError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return errDamaged
	}
	return err
}

var (
	errLong    = errors.New("the line is longer than 1 MiB, or 16 MiB for a batch of spans")
	errCut     = errors.New("the gzip file is cut short")
	errDamaged = errors.New("the gzip file is damaged")
)
