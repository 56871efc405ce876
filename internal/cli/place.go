package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

// place is where a permission is asked for or granted.
type place struct {
	clusterWide   bool
	allNamespaces bool
}

func (p *place) addFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&p.clusterWide, "cluster-wide", false, "In every namespace, by a ClusterRoleBinding.")
	fs.BoolVarP(&p.allNamespaces, "all-namespaces", "A", false, "The same as --cluster-wide.")
}

// explicit returns the namespace that was named, "" for cluster-wide, or an error if neither was.
func (p *place) explicit(flags *genericclioptions.ConfigFlags) (string, error) {
	wide, namespace := p.clusterWide || p.allNamespaces, *flags.Namespace
	switch {
	case wide && namespace != "":
		return "", errors.New("--namespace and --cluster-wide: want one of them")
	case !wide && namespace == "":
		return "", errors.New("say where: -n NAMESPACE or --cluster-wide")
	case wide:
		return "", nil
	}
	return namespace, checkNamespace(namespace)
}

// resolve is explicit, with the namespace of the kubeconfig's context as a default, as in kubectl.
func (p *place) resolve(flags *genericclioptions.ConfigFlags) (string, error) {
	if p.clusterWide || p.allNamespaces || *flags.Namespace != "" {
		return p.explicit(flags)
	}
	namespace, _, err := flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("read namespace of kubeconfig: %w", err)
	}
	return namespace, checkNamespace(namespace)
}

func checkNamespace(namespace string) error {
	return checkName("namespace", namespace, validation.IsDNS1123Label(namespace))
}
