package cli

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/saguard/saguard/audit/auditlog"
)

// progress shows how far a long read has come, and how fast; nil shows nothing.
type progress struct {
	bar  *progressbar.ProgressBar
	done int64 // bytes of the files before this one
	log  *auditlog.Log
}

// progress makes a bar of the size of all files, where somebody sees it and the sizes are known.
func (o *reviewOptions) progress(files []string) *progress {
	if o.noProgress || !isTerminal(o.streams.ErrOut) {
		return nil
	}
	total := int64(0)
	for _, name := range files {
		info, err := os.Stat(name)
		if name == auditlog.Stdin || err != nil || !info.Mode().IsRegular() {
			total = -1
			break
		}
		total += info.Size()
	}
	return &progress{bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(o.streams.ErrOut), progressbar.OptionShowBytes(true), progressbar.OptionSetDescription("reading"),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(40))}
}

func (p *progress) next(l *auditlog.Log) {
	if p == nil {
		return
	}
	if p.log != nil {
		p.done += p.log.Offset()
	}
	p.log = l
}

func (p *progress) reader(l *auditlog.Log) io.Reader {
	if p == nil {
		return l
	}
	return &progressReader{p}
}

func (p *progress) finish() {
	if p != nil {
		_ = p.bar.Finish() //nolint:errcheck // only the terminal's looks
	}
}

type progressReader struct{ *progress }

// Read implements io.Reader.
func (r *progressReader) Read(b []byte) (int, error) {
	n, err := r.log.Read(b)
	_ = r.bar.Set64(r.done + r.log.Offset()) //nolint:errcheck // only the terminal's looks
	return n, err
}
