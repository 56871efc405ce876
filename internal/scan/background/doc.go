// Package background scans the cluster again and again, on one replica, and says what it found in the status of the guards, as metrics, and
// in OpenReports where there are any. Losing the lease ends it; an error of a scan or of a write is tried again, and never ends the process.
package background
