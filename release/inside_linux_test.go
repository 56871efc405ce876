package release

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// inside makes cmd run in dir alone, as the image's user.
func inside(t *testing.T, cmd *exec.Cmd, dir string, config v1.Config) {
	t.Helper()
	user, group, _ := strings.Cut(config.User, ":")
	uid, err := strconv.ParseUint(user, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(group, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Dir = config.Entrypoint[0], "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir, Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}
