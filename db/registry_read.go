package db

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// CopyError is a copy that cannot be used, or not here.
// Code is one of copy_damaged, copy_format, copy_schema, copy_secret,
// registry_in_use, registry_not_empty.
type CopyError struct{ Code, Message, Remedy string }

func (e *CopyError) Error() string { return e.Message + " (" + e.Remedy + ")" }

// CheckCopy reads a copy to its end and says what is in it. It needs no
// database.
func CheckCopy(r io.Reader) (*CopySummary, error) {
	c, err := openCopy(r)
	if err != nil {
		return nil, err
	}
	for {
		if _, err := c.next(); errors.Is(err, io.EOF) {
			return c.summary(), nil
		} else if err != nil {
			return nil, err
		}
	}
}

// copyFile reads a copy line by line.
type copyFile struct {
	said *CopySummary
	r    *bufio.Reader
	sum  hash.Hash
	head copyHeader
	rows map[string]int64
}

func damaged(format string, args ...any) error {
	return &CopyError{"copy_damaged", "the file is no complete copy of a registry: " + fmt.Sprintf(format, args...), "take another copy; this one is damaged or of something else"}
}

func openCopy(r io.Reader) (*copyFile, error) {
	c := &copyFile{r: bufio.NewReaderSize(r, 1<<20), sum: sha256.New(), rows: map[string]int64{}}
	raw, err := c.line()
	if err != nil {
		return nil, damaged("it has no header")
	}
	if err := json.Unmarshal(raw, &c.head); err != nil || c.head.Kind != copyKind {
		return nil, damaged("its first line is no header")
	}
	if c.head.Format != copyFormat {
		return nil, &CopyError{"copy_format", fmt.Sprintf("the copy has format %d, this tms reads %d", c.head.Format, copyFormat), "use tms " + c.head.Program + ", which wrote it"}
	}
	c.sum.Write(raw)
	return c, nil
}

// line reads one line with its end.
func (c *copyFile) line() ([]byte, error) {
	raw, err := c.r.ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the copy: %w", err)
	}
	if err != nil || len(raw) == 0 {
		return nil, io.EOF
	}
	return raw, nil
}

// next reads a row; io.EOF behind a trailer that agrees with everything.
func (c *copyFile) next() (*copyRow, error) {
	raw, err := c.line()
	if errors.Is(err, io.EOF) {
		return nil, damaged("it ends in the middle")
	}
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(raw, []byte(`{"t":`)) {
		return nil, c.end(raw)
	}
	var row copyRow
	if err := json.Unmarshal(raw, &row); err != nil || c.head.Columns[row.Table] == nil {
		return nil, damaged("row %d cannot be read", c.count()+1)
	}
	c.sum.Write(raw)
	c.rows[row.Table]++
	return &row, nil
}

func (c *copyFile) count() (n int64) {
	for _, one := range c.rows {
		n += one
	}
	return n
}

func (c *copyFile) end(raw []byte) error {
	var t copyTrailer
	if err := json.Unmarshal(raw, &t); err != nil || t.SHA256 == "" {
		return damaged("row %d cannot be read", c.count()+1)
	}
	if t.SHA256 != hex.EncodeToString(c.sum.Sum(nil)) {
		return damaged("its checksum does not agree with its content")
	}
	for name, n := range t.Rows {
		if c.rows[name] != n {
			return damaged("it holds %d rows of %s and says %d", c.rows[name], name, n)
		}
	}
	if _, err := c.line(); !errors.Is(err, io.EOF) {
		return damaged("something follows its end")
	}
	return io.EOF
}

// summary is the same one every time.
func (c *copyFile) summary() *CopySummary {
	if c.said == nil {
		c.said = &CopySummary{At: c.head.At, Program: c.head.Program, Schema: c.head.Schema, Rows: c.rows}
	}
	return c.said
}
