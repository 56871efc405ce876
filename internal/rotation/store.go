package rotation

import (
	"crypto/x509"
	"slices"
	"time"
)

// Store is what all replicas share. The zero Store is that of a new installation.
type Store struct {
	// Current is to be served; Next will be. nil means none, or none that can be read.
	Current, Next *Generation
	// Retired are the CAs of generations that a replica may still serve.
	Retired []*x509.Certificate
	// Damaged says that there is data that cannot be read.
	Damaged bool
}

// Keys of the Secret. The first three are those of certificates everywhere.
const (
	keyCert, keyKey, keyCA             = "tls.crt", "tls.key", "ca.crt"
	keyNextCert, keyNextKey, keyNextCA = "next.crt", "next.key", "next-ca.crt"
	keyRetired                         = "retired-ca.crt"
)

// Keys lists the keys of the Secret that belong to the store; what else is in it is left alone.
func Keys() []string {
	return []string{keyCert, keyKey, keyCA, keyNextCert, keyNextKey, keyNextCA, keyRetired}
}

// DecodeStore reads a Secret's data. What cannot be read is left out, and sets Damaged; of a current generation that cannot,
// the CA is retired if it can be read, since replicas may hold the rest in memory.
func DecodeStore(data map[string][]byte) Store {
	var s Store
	s.Current = s.decode(data, keyCA, keyCert, keyKey)
	s.Next = s.decode(data, keyNextCA, keyNextCert, keyNextKey)
	retired, rest := parseCAs(data[keyRetired])
	s.Retired, s.Damaged = retired, s.Damaged || rest
	if s.Current == nil {
		lost, _ := parseCAs(data[keyCA]) //nolint:errcheck // no error: that there is a rest is known, Current being nil
		s.Retired = addCAs(s.Retired, lost...)
	}
	return s
}

func (s *Store) decode(data map[string][]byte, ca, cert, key string) *Generation {
	if len(data[ca]) == 0 && len(data[cert]) == 0 && len(data[key]) == 0 {
		return nil
	}
	g, err := parseGeneration(data[ca], data[cert], data[key])
	if err != nil {
		s.Damaged = true
		return nil
	}
	return g
}

// Encode is the Secret's data; DecodeStore reads it back.
func (s *Store) Encode() map[string][]byte {
	data := map[string][]byte{}
	put := func(g *Generation, ca, cert, key string) {
		if g != nil {
			data[ca], data[cert], data[key] = g.caPEM, g.certPEM, g.keyPEM
		}
	}
	put(s.Current, keyCA, keyCert, keyKey)
	put(s.Next, keyNextCA, keyNextCert, keyNextKey)
	if len(s.Retired) > 0 {
		data[keyRetired] = encodeCAs(s.Retired)
	}
	return data
}

// Issued is the store with another next generation, which is what Issue writes.
func (s *Store) Issued(next *Generation, now time.Time, settle time.Duration) Store {
	return Store{Current: s.Current, Next: next, Retired: unexpired(s.Retired, now, settle)}
}

// promoted is the store with next as the current generation. held is what the promoting replica serves.
func (s *Store) promoted(held *Generation, now time.Time, settle time.Duration) Store {
	retired := slices.Clone(s.Retired)
	for _, g := range []*Generation{s.Current, held} {
		if g != nil && !g.Same(s.Next) {
			retired = addCAs(retired, g.ca)
		}
	}
	return Store{Current: s.Next, Retired: unexpired(retired, now, settle)}
}

// forgotten is the store without what has expired.
func (s *Store) forgotten(now time.Time, settle time.Duration) Store {
	return Store{Current: s.Current, Next: s.Next, Retired: unexpired(s.Retired, now, settle)}
}
