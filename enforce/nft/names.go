package nft

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/saguard/saguard/internal/ruleset"
)

// side is a direction in one IP version: what there is one of for each address family.
type side struct {
	direction ruleset.Direction
	family    uint8 // 4 or 6
}

func sides() []side {
	return []side{{ruleset.Egress, 4}, {ruleset.Ingress, 4}, {ruleset.Egress, 6}, {ruleset.Ingress, 6}}
}

// String is "ingress4", the name of the side's first chain.
func (s side) String() string { return fmt.Sprintf("%s%d", s.direction, s.family) }

// own is the field with the endpoint's address, peer that with the other one.
func (s side) own() field {
	if s.direction == ruleset.Egress {
		return sourceAddress
	}
	return destAddress
}

func (s side) peer() field {
	if s.direction == ruleset.Egress {
		return destAddress
	}
	return sourceAddress
}

func (s side) key() keyType {
	if s.family == 4 {
		return addressKey4
	}
	return addressKey6
}

func endpointSet(family uint8) string { return fmt.Sprintf("endpoints%d", family) }

func (s side) defaults() string { return s.String() + "_default" }
func (s side) peers() string    { return s.String() + "_peers" }
func (s side) moved() string    { return s.String() + "_moved" }
func (s side) nets() string     { return s.String() + "_nets" }

// identityOf reads the name of an identity's chain back, 0 if it is none.
func identityOf(chain string) ruleset.IdentityID {
	name, _, _ := strings.Cut(chain, serialMark)
	_, text, ok := strings.Cut(name, "_identity_")
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0
	}
	return ruleset.IdentityID(n)
}

// serialMark comes before the number that sets a name apart from an older one with the same meaning.
const serialMark = "."

// rowName and identityName are what chains of rows and identities are for.
type (
	rowName struct {
		direction ruleset.Direction
		id        ruleset.RowID
	}
	identityName struct {
		side side
		id   ruleset.IdentityID
	}
)

// registry has the names of chains and sets that stand for parts of a ruleset. IDs come back with another meaning, at a time
// when a packet may be on its way through what had the name before: so a name is not used again before that is deleted.
type registry struct {
	rows         map[rowName]string
	identities   map[identityName]string
	identityRows map[identityName]string // sets, of those identities that have one
	outcomes     map[outcome]string
	serial       int
}

func newRegistry() registry {
	return registry{
		rows: map[rowName]string{}, identities: map[identityName]string{}, identityRows: map[identityName]string{}, outcomes: map[outcome]string{},
	}
}

// fresh returns a name that nothing has.
func (l *lowering) fresh(base string) string {
	name := base
	for l.taken(name) {
		l.names.serial++
		name = fmt.Sprint(base, serialMark, l.names.serial)
	}
	return name
}

func (l *lowering) taken(name string) bool {
	_, wasChain := l.wasChain[name]
	_, wasSet := l.wasSet[name]
	return wasChain || wasSet || l.chains[name] != nil || l.sets[name] != nil
}

// addressKey is an address as the key of a set.
func addressKey(a netip.Addr) string { return string(a.AsSlice()) }

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return 4
	}
	return 6
}
