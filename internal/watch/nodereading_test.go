package watch

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestPrefixesOfANode(t *testing.T) {
	for name, tc := range map[string]struct {
		spec string
		want []netip.Prefix
		err  string
	}{
		"both versions":          {spec: `{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24","fd00:1::/64"]}`, want: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:1::/64")}},
		"the old field alone":    {spec: `{"podCIDR":"10.244.1.0/24"}`, want: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}},
		"none":                   {spec: `{}`},
		"no prefix":              {spec: `{"podCIDRs":["10.244.1.0","fd00:1::/64"]}`, want: []netip.Prefix{netip.MustParsePrefix("fd00:1::/64")}, err: "spec.podCIDRs"},
		"IPv4 written as IPv6":   {spec: `{"podCIDRs":["::ffff:10.244.1.0/120","fd00:1::/64"]}`, want: []netip.Prefix{netip.MustParsePrefix("fd00:1::/64")}, err: "written as IPv6"},
		"bits behind the length": {spec: `{"podCIDRs":["10.244.1.7/24"]}`, want: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := nodeReading{}.decode([]byte(`{"metadata":{"name":"one"},"spec":` + tc.spec + `}`))
			if text := errorText(err); (tc.err == "") != (err == nil) || !strings.Contains(text, tc.err) {
				t.Errorf("error %q, want %q", text, tc.err)
			}
			n, ok := got.Value.(*node)
			if !ok || !slices.Equal(n.prefixes, tc.want) {
				t.Errorf("got %+v, want %v", got.Value, tc.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
