// Command clusters runs the jobs of cmd/vkcome/clusters/kubernetes on a real API server of Kubernetes, as .ci/kubernetes.sh starts it, with the real
// controller of jobs. What lacks is nodes: the program starts each pod's containers as processes of this machine, with its volumes as folders, and
// tells the server how they ended, as a kubelet does.
//
//	clusters -server URL -token TOKEN -volumes DIR [-vkcome FILE] MANIFEST...
//
// The jobs run one after another; -once NAME makes the pod of that name's start lose its node when a file that matches -when is there.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/pkg/controller/job"
)

const namespace = "default"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "clusters:", err)
		os.Exit(1)
	}
}

func run() error {
	var n node
	config := rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: 100, Burst: 100}
	flag.StringVar(&config.Host, "server", "", "URL of the API server")
	flag.StringVar(&config.BearerToken, "token", "", "that it takes")
	flag.StringVar(&n.volumes, "volumes", "", "folder of the volumes, each by its name")
	flag.StringVar(&n.vkcome, "vkcome", "bin/vkcome", "what containers run")
	flag.StringVar(&n.once, "once", "", "how the name of a pod begins that loses its node")
	flag.StringVar(&n.when, "when", "", "pattern of the file that is waited for before")
	flag.Parse()
	client, err := kubernetes.NewForConfig(&config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	factory := informers.NewSharedInformerFactory(client, 0)
	controller, err := job.NewController(ctx, factory.Core().V1().Pods(), factory.Batch().V1().Jobs(), client)
	if err != nil {
		return err
	}
	n.client = client
	factory.Start(ctx.Done())
	go controller.Run(ctx, 2)
	go n.run(ctx)
	for _, path := range flag.Args() {
		if err := apply(ctx, client, path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return n.failed()
}

// apply makes what a file of manifests asks for, of which the server must know every field, and waits for the end of its job.
func apply(ctx context.Context, client kubernetes.Interface, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	strict := meta.CreateOptions{FieldValidation: meta.FieldValidationStrict}
	for documents := yaml.NewYAMLReader(newReader(raw)); ; {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var kind meta.TypeMeta
		if err := yaml.Unmarshal(text, &kind); err != nil {
			return err
		}
		resource := map[string]string{"PersistentVolumeClaim": "/api/v1/namespaces/default/persistentvolumeclaims", "Job": "/apis/batch/v1/namespaces/default/jobs"}[kind.Kind]
		if resource == "" {
			return fmt.Errorf("a manifest of kind %q", kind.Kind)
		}
		answer, err := client.Discovery().RESTClient().Post().AbsPath(resource).Param("fieldValidation", strict.FieldValidation).SetHeader("Content-Type", "application/yaml").Body(text).DoRaw(ctx)
		if err != nil {
			return fmt.Errorf("%w: %s", err, bytes.TrimSpace(answer))
		}
		if kind.Kind != "Job" {
			fmt.Println(path + ": made")
			continue
		}
		var made batch.Job
		if err := yaml.Unmarshal(answer, &made); err != nil {
			return err
		}
		if err := await(ctx, client, made.Name); err != nil {
			return err
		}
	}
}

// await waits for the end of a job and tells of its pods.
func await(ctx context.Context, client kubernetes.Interface, name string) error {
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		j, err := client.BatchV1().Jobs(namespace).Get(ctx, name, meta.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range j.Status.Conditions {
			if c.Status != core.ConditionTrue || c.Type != batch.JobComplete && c.Type != batch.JobFailed {
				continue
			}
			told := fmt.Sprintf("%s: %s %s, %d pods succeeded (%s), %d failed (%s)", name, c.Type, c.Reason, j.Status.Succeeded, j.Status.CompletedIndexes, j.Status.Failed, failedIndexes(j))
			fmt.Println(told)
			if c.Type == batch.JobFailed {
				return errors.New(told + ": " + c.Message)
			}
			return nil
		}
		if time.Since(begin) > 10*time.Minute {
			return fmt.Errorf("%s has not ended: %+v", name, j.Status)
		}
	}
}

func failedIndexes(j *batch.Job) string {
	if j.Status.FailedIndexes == nil {
		return ""
	}
	return strings.TrimSpace(*j.Status.FailedIndexes)
}
