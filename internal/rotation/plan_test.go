package rotation

import (
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/saguard/saguard/internal/decision"
)

var (
	testTerms = Terms{Validity: 90 * time.Hour, RenewBefore: 30 * time.Hour, Settle: time.Minute}
	testNames = Names{DNS: []string{"saguard.saguard-system.svc"}}
	testNow   = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
)

func made(t *testing.T, ago time.Duration, names Names) *Generation {
	t.Helper()
	g, err := NewGeneration(testNow.Add(-ago), testTerms.Validity, names)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// configurations are one of one webhook with these CAs, and one of two.
func configurations(cas ...*x509.Certificate) []Configuration {
	b := func(name string) Bundle { return Bundle{Webhook: name, CAs: cas} }
	return []Configuration{
		{Name: "validating", Bundles: decision.Known([]Bundle{b("a")})},
		{Name: "mutating", Bundles: decision.Known([]Bundle{b("b"), b("c")})},
	}
}

func TestDecide(t *testing.T) {
	a, b, due := made(t, time.Hour, testNames), made(t, 0, testNames), made(t, 61*time.Hour, testNames)
	expired, longExpired := made(t, 90*time.Hour+time.Second, testNames), made(t, 91*time.Hour, testNames)
	renamed := made(t, time.Hour, Names{DNS: []string{"other.saguard-system.svc"}})
	former := made(t, 2*time.Hour, testNames) // of another source
	seen := func(ago time.Duration, of ...*Generation) map[Fingerprint]time.Time {
		out := map[Fingerprint]time.Time{}
		for _, g := range of {
			out[g.Fingerprint()] = testNow.Add(-ago)
		}
		return out
	}
	known := decision.Known[Store]
	noSecret, unreadSecret := decision.Absent[Store](), decision.Unknown[Store]("timeout")
	absent := []Configuration{{Name: "validating", Bundles: decision.Absent[[]Bundle]()}, {Name: "mutating", Bundles: decision.Absent[[]Bundle]()}}
	one := func(c Configuration, more []Configuration) []Configuration { return []Configuration{c, more[1]} }
	unread := Configuration{Name: "validating", Bundles: decision.Unknown[[]Bundle]("timeout")}

	for name, tc := range map[string]struct {
		secret  decision.Fact[Store]
		configs []Configuration
		held    *Generation
		seen    map[Fingerprint]time.Time
		step    Step
		state   State
		repair  Repair
		serve   *Generation
		why     string
	}{
		"a new installation makes its first certificate":          {secret: known(Store{}), configs: configurations(), step: Issue, state: Issuing},
		"before the webhooks are registered as well":              {secret: known(Store{}), configs: absent, step: Issue, state: Issuing},
		"its CA is trusted before it is served":                   {secret: known(Store{Next: b}), configs: configurations(), step: Trust, state: Trusting},
		"and it is served at once, nobody being served yet":       {secret: known(Store{Next: b}), configs: configurations(b.CA()), seen: seen(0, b), step: Promote, state: Promoting},
		"without webhooks that could be asked too":                {secret: known(Store{Next: b}), configs: absent, step: Promote, state: Promoting},
		"after another source only when API servers have settled": {secret: known(Store{Next: b}), configs: configurations(former.CA(), b.CA()), seen: seen(59*time.Second, b), step: Nothing, state: Settling, why: "1m0s"},
		"another source, and API servers have settled":            {secret: known(Store{Next: b}), configs: configurations(former.CA(), b.CA()), seen: seen(time.Minute, b), step: Promote, state: Promoting},
		"an expired other source is none":                         {secret: known(Store{Next: b}), configs: configurations(expired.CA(), b.CA()), seen: seen(0, b), step: Promote, state: Promoting},
		"between rotations there is nothing to do":                {secret: known(Store{Current: a}), configs: configurations(a.CA()), held: a, step: Nothing, state: Steady, serve: a},
		"one that is due":                        {secret: known(Store{Current: due}), configs: configurations(due.CA()), held: due, step: Issue, state: Issuing, serve: due},
		"the next CA is added":                   {secret: known(Store{Current: due, Next: b}), configs: configurations(due.CA()), held: due, step: Trust, state: Trusting, serve: due},
		"to a configuration that alone lacks it": {secret: known(Store{Current: due, Next: b}), configs: one(configurations(due.CA())[0], configurations(due.CA(), b.CA())), held: due, step: Trust, state: Trusting, serve: due},
		"API servers settle":                     {secret: known(Store{Current: due, Next: b}), configs: configurations(due.CA(), b.CA()), held: due, seen: seen(59*time.Second, b), step: Nothing, state: Settling, serve: due, why: "1m0s"},
		"API servers have settled":               {secret: known(Store{Current: due, Next: b}), configs: configurations(due.CA(), b.CA()), held: due, seen: seen(time.Minute, b), step: Promote, state: Promoting, serve: due},
		"what was never seen has not settled":    {secret: known(Store{Current: due, Next: b}), configs: configurations(due.CA(), b.CA()), held: due, step: Nothing, state: Settling, serve: due, why: "1m0s"},
		"the former one goes on in a replica that has not seen it settle":    {secret: known(Store{Current: b, Retired: cas(due)}), configs: configurations(due.CA(), b.CA()), held: due, seen: seen(time.Second, b), step: Nothing, state: Steady, serve: due},
		"a replica that has serves the new one":                              {secret: known(Store{Current: b, Retired: cas(due)}), configs: configurations(due.CA(), b.CA()), held: due, seen: seen(time.Minute, b), step: Nothing, state: Steady, serve: b},
		"a replica that starts serves the current one":                       {secret: known(Store{Current: a}), configs: configurations(a.CA()), step: Nothing, state: Steady, serve: a},
		"but not before every caBundle has it":                               {secret: known(Store{Current: a}), configs: one(configurations()[0], configurations(a.CA())), step: Trust, state: Trusting, repair: BundleIncomplete, why: "step trust"},
		"and without a view of the configurations all the same":              {secret: known(Store{Current: a}), configs: one(unread, configurations(a.CA())), step: Nothing, state: Steady, serve: a},
		"a CA that expired leaves the caBundles":                             {secret: known(Store{Current: a}), configs: configurations(longExpired.CA(), a.CA()), held: a, step: Trust, state: Trusting, serve: a},
		"not while clocks may differ on it":                                  {secret: known(Store{Current: a}), configs: configurations(expired.CA(), a.CA()), held: a, step: Nothing, state: Steady, serve: a},
		"and the Secret":                                                     {secret: known(Store{Current: a, Retired: cas(longExpired)}), configs: configurations(a.CA()), held: a, step: Forget, state: Steady, serve: a},
		"a retired CA is put back":                                           {secret: known(Store{Current: a, Retired: cas(due)}), configs: configurations(a.CA()), held: a, step: Trust, state: Trusting, serve: a},
		"a deleted Secret is made":                                           {secret: noSecret, configs: configurations(a.CA()), held: a, step: MakeSecret, state: Issuing, repair: SecretMissing, serve: a},
		"not when the webhooks are gone too":                                 {secret: noSecret, configs: absent, held: a, step: Nothing, state: Blocked, serve: a, why: "does not exist"},
		"an emptied Secret gets a new certificate":                           {secret: known(Store{}), configs: configurations(a.CA()), held: a, step: Issue, state: Issuing, repair: SecretEmptied, serve: a},
		"which settles, since another replica may serve what this never had": {secret: known(Store{Next: b}), configs: configurations(a.CA(), b.CA()), seen: seen(0, b), step: Nothing, state: Settling, why: "1m0s"},
		"a damaged Secret gets a new certificate":                            {secret: known(Store{Damaged: true}), configs: configurations(a.CA()), held: a, step: Issue, state: Issuing, repair: SecretDamaged, serve: a},
		"a Secret of which only the rest is damaged":                         {secret: known(Store{Current: a, Damaged: true}), configs: configurations(a.CA()), held: a, step: Forget, state: Steady, repair: SecretDamaged, serve: a},
		"a Secret that cannot be read":                                       {secret: unreadSecret, configs: configurations(a.CA()), held: a, step: Nothing, state: Blocked, serve: a, why: "timeout"},
		"a Secret that cannot be read at the start":                          {secret: unreadSecret, configs: configurations(a.CA()), step: Nothing, state: Blocked, why: "timeout"},
		"caBundles are repaired from memory":                                 {secret: unreadSecret, configs: configurations(), held: a, step: Trust, state: Trusting, repair: BundleIncomplete, serve: a},
		"emptied caBundles":                                                  {secret: known(Store{Current: a}), configs: configurations(), held: a, step: Trust, state: Trusting, repair: BundleIncomplete, serve: a},
		"a caBundle with another CA":                                         {secret: known(Store{Current: a}), configs: configurations(former.CA()), held: a, step: Trust, state: Trusting, repair: BundleIncomplete, serve: a},
		"another CA beside it stays":                                         {secret: known(Store{Current: a}), configs: configurations(former.CA(), a.CA()), held: a, step: Nothing, state: Steady, serve: a},
		"a configuration that cannot be read holds up the rotation":          {secret: known(Store{Current: due, Next: b}), configs: one(unread, configurations(due.CA(), b.CA())), held: due, seen: seen(time.Hour, b), step: Nothing, state: Blocked, serve: due, why: "validating cannot be read: timeout"},
		"one that does not exist as well: it may come back with an old one":  {secret: known(Store{Current: due, Next: b}), configs: one(absent[0], configurations(due.CA(), b.CA())), held: due, seen: seen(time.Hour, b), step: Nothing, state: Blocked, serve: due, why: "validating does not exist"},
		"unless there is nothing to lose":                                    {secret: known(Store{Current: longExpired, Next: b}), configs: absent, held: longExpired, step: Promote, state: Promoting, serve: longExpired},
		"an expired certificate is replaced without waiting":                 {secret: known(Store{Current: longExpired, Next: b}), configs: configurations(b.CA()), held: longExpired, seen: seen(0, b), step: Promote, state: Promoting, serve: longExpired},
		"a certificate for other names gets a successor":                     {secret: known(Store{Current: renamed}), configs: configurations(renamed.CA()), held: renamed, step: Issue, state: Issuing, serve: renamed},
		"a next one for other names is made anew":                            {secret: known(Store{Current: due, Next: renamed}), configs: configurations(due.CA(), renamed.CA()), held: due, seen: seen(time.Hour, renamed), step: Issue, state: Issuing, serve: due},
		"a Secret from a backup is not believed before it is trusted":        {secret: known(Store{Current: former}), configs: configurations(a.CA(), former.CA()), held: a, seen: seen(time.Second, former), step: Nothing, state: Steady, serve: a},
		"and is once it is":                                                  {secret: known(Store{Current: former}), configs: configurations(a.CA(), former.CA()), held: a, seen: seen(time.Minute, former), step: Nothing, state: Steady, serve: former},
		"an expired certificate from a backup is not":                        {secret: known(Store{Current: longExpired}), configs: configurations(a.CA()), held: a, step: Issue, state: Issuing, serve: a},
		"no facts at all":                                                    {step: Nothing, state: Blocked, why: "not gathered"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Decide(Facts{Now: testNow, Names: testNames, Terms: testTerms, Secret: tc.secret, Configurations: tc.configs, Held: tc.held, Seen: tc.seen})
			if p.Step != tc.step || p.State != tc.state || p.Repair != tc.repair {
				t.Errorf("step %s, state %s, repair %q, want %s, %s, %q", p.Step, p.State, p.Repair, tc.step, tc.state, tc.repair)
			}
			if !p.Serve.Same(tc.serve) {
				t.Errorf("serves %v, want %v", p.Serve, tc.serve)
			}
			if !strings.Contains(p.Why, tc.why) || p.Serve == nil && p.Why == "" {
				t.Errorf("why %q, want %q in it", p.Why, tc.why)
			}
		})
	}
}

func cas(of ...*Generation) []*x509.Certificate {
	var out []*x509.Certificate
	for _, g := range of {
		out = append(out, g.CA())
	}
	return out
}

func TestPromotedKeepsTheCAOfWhateverIsServed(t *testing.T) {
	current, next, held, longExpired := made(t, time.Hour, testNames), made(t, 0, testNames), made(t, 2*time.Hour, testNames), made(t, 91*time.Hour, testNames)
	s := Store{Current: current, Next: next, Retired: cas(longExpired)}
	got := s.promoted(held, testNow, testTerms.Settle)
	if !got.Current.Same(next) || got.Next != nil || !slices.EqualFunc(got.Retired, cas(current, held), (*x509.Certificate).Equal) {
		t.Errorf("current %v, next %v, %d retired", got.Current, got.Next, len(got.Retired))
	}
}

// TestNamesOfTheReleaseBefore: its replicas would give up a certificate without their names in turn.
func TestNamesOfTheReleaseBefore(t *testing.T) {
	before := Names{DNS: []string{"old.saguard-system.svc", testNames.DNS[0]}, IPs: []net.IP{net.IPv4(10, 0, 0, 7)}}
	now := Names{DNS: []string{"new.saguard-system.svc", testNames.DNS[0]}}
	for name, tc := range map[string]struct {
		ago  time.Duration
		want []string
	}{
		"those of one given up for its names": {ago: time.Hour, want: []string{"new.saguard-system.svc", "old.saguard-system.svc", testNames.DNS[0], "10.0.0.7"}},
		"not those of one that has expired":   {ago: 91 * time.Hour, want: []string{"new.saguard-system.svc", testNames.DNS[0]}},
	} {
		t.Run(name, func(t *testing.T) {
			g := made(t, tc.ago, before)
			p := Decide(Facts{Now: testNow, Names: now, Terms: testTerms, Secret: decision.Known(Store{Current: g}), Configurations: configurations(g.CA())})
			got := slices.Clone(p.Names.DNS)
			for _, ip := range p.Names.IPs {
				got = append(got, ip.String())
			}
			if p.Step != Issue && tc.ago == time.Hour || p.Step == Issue && !slices.Equal(got, tc.want) {
				t.Errorf("step %s, names %v, want %v", p.Step, got, tc.want)
			}
		})
	}
}

func TestObserve(t *testing.T) {
	a, b := made(t, time.Hour, testNames), made(t, 0, testNames)
	before := map[Fingerprint]time.Time{a.Fingerprint(): testNow.Add(-time.Hour), b.Fingerprint(): testNow.Add(-time.Hour)}
	partly := configurations(a.CA(), b.CA())
	partly[1] = Configuration{Name: "mutating", Bundles: decision.Known([]Bundle{{Webhook: "b", CAs: cas(a, b)}, {Webhook: "c", CAs: cas(a)}})}
	for name, tc := range map[string]struct {
		configs []Configuration
		want    map[*Generation]time.Duration // how long ago
	}{
		"both go on": {configurations(a.CA(), b.CA()), map[*Generation]time.Duration{a: time.Hour, b: time.Hour}},
		"one that a single webhook lacks begins anew": {partly, map[*Generation]time.Duration{a: time.Hour}},
		"none is anywhere":                            {configurations(), nil},
		"what cannot be read changes nothing":         {[]Configuration{{Name: "x"}, configurations()[1]}, map[*Generation]time.Duration{a: time.Hour, b: time.Hour}},
		"what does not exist lacks nothing":           {[]Configuration{{Name: "x", Bundles: decision.Absent[[]Bundle]()}, configurations(a.CA())[1]}, map[*Generation]time.Duration{a: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Observe(before, tc.configs, testNow)
			if len(got) != len(tc.want) {
				t.Errorf("%d CAs, want %d", len(got), len(tc.want))
			}
			for g, ago := range tc.want {
				if since, ok := got[g.Fingerprint()]; !ok || !since.Equal(testNow.Add(-ago)) {
					t.Errorf("%v since %v, %v", g, since, ok)
				}
			}
		})
	}
	if got := Observe(nil, configurations(a.CA()), testNow); !got[a.Fingerprint()].Equal(testNow) {
		t.Errorf("for the first time: %v", got)
	}
}
