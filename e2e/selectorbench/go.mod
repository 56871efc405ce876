module github.com/saguard/saguard/e2e/selectorbench

go 1.26.0

replace github.com/saguard/saguard => ../../

// Calico's own replacement, which does not reach beyond its module.
replace github.com/projectcalico/api => github.com/projectcalico/api v0.0.0-20250916150628-d4009e4d7c50

require (
	github.com/projectcalico/calico v1.11.0-cni-plugin.0.20250813170300-a0db560f0520
	github.com/saguard/saguard v0.0.0-00010101000000-000000000000
)

require (
	github.com/sirupsen/logrus v1.9.3 // indirect
	golang.org/x/sys v0.48.0 // indirect
)
