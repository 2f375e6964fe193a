package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

func newReader(raw []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(raw)) }

// node stands in for the nodes of a cluster.
type node struct {
	client          kubernetes.Interface
	volumes, vkcome string
	once, when      string

	mu    sync.Mutex
	begun map[types.UID]bool
	lost  bool // the pod of once has lost its node
	err   error
}

// failed is what went wrong with the node itself.
func (n *node) failed() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil && n.once != "" && !n.lost {
		return fmt.Errorf("no pod %s… lost its node", n.once)
	}
	return n.err
}

// fail notes what went wrong and tells it, as a job then never ends.
func (n *node) fail(err error) {
	fmt.Fprintln(os.Stderr, "clusters:", err)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = errors.Join(n.err, err)
}

// run starts pods as they come.
func (n *node) run(ctx context.Context) {
	n.begun = map[types.UID]bool{}
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		pods, err := n.client.CoreV1().Pods(namespace).List(ctx, meta.ListOptions{})
		if err != nil {
			n.fail(err)
			return
		}
		for _, pod := range pods.Items {
			if n.begun[pod.UID] || pod.Status.Phase != core.PodPending {
				continue
			}
			n.begun[pod.UID] = true
			go func() {
				if err := n.carryOut(ctx, &pod); err != nil && ctx.Err() == nil {
					n.fail(fmt.Errorf("%s: %w", pod.Name, err))
				}
			}()
		}
	}
}

// carryOut runs the containers of a pod and tells the server.
func (n *node) carryOut(ctx context.Context, pod *core.Pod) error {
	tmp, err := os.MkdirTemp("", "pod-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	pod.Status.Phase = core.PodRunning
	if pod, err = n.client.CoreV1().Pods(namespace).UpdateStatus(ctx, pod, meta.UpdateOptions{}); err != nil {
		return err
	}
	phase := core.PodSucceeded
	for _, group := range []struct {
		containers []core.Container
		statuses   *[]core.ContainerStatus
	}{{pod.Spec.InitContainers, &pod.Status.InitContainerStatuses}, {pod.Spec.Containers, &pod.Status.ContainerStatuses}} {
		for _, c := range group.containers {
			if phase == core.PodFailed {
				continue
			}
			code, lost, err := n.process(ctx, pod, c, tmp)
			if err != nil {
				return err
			}
			*group.statuses = append(*group.statuses, core.ContainerStatus{Name: c.Name, State: core.ContainerState{Terminated: &core.ContainerStateTerminated{ExitCode: int32(code), FinishedAt: meta.Now()}}})
			if code != 0 {
				phase = core.PodFailed
			}
			if lost {
				pod.Status.Conditions = append(pod.Status.Conditions, core.PodCondition{Type: core.DisruptionTarget, Status: core.ConditionTrue, Reason: "DeletionByTaintManager"})
			}
		}
	}
	pod.Status.Phase = phase
	_, err = n.client.CoreV1().Pods(namespace).UpdateStatus(ctx, pod, meta.UpdateOptions{})
	return err
}

// process runs a container as a process. Its variables are expanded as a kubelet does, and the folders of volumes take the places of where they
// are mounted.
func (n *node) process(ctx context.Context, pod *core.Pod, c core.Container, tmp string) (code int, lost bool, err error) {
	env, expand := os.Environ(), []string{}
	for _, v := range c.Env {
		value := v.Value
		if v.ValueFrom != nil && v.ValueFrom.FieldRef != nil {
			from, key, _ := strings.Cut(strings.TrimSuffix(v.ValueFrom.FieldRef.FieldPath, "']"), "['")
			var there bool
			if value, there = map[string]map[string]string{"metadata.annotations": pod.Annotations, "metadata.labels": pod.Labels}[from][key]; !there {
				return 0, false, fmt.Errorf("variable %s comes from %s, which the pod lacks", v.Name, v.ValueFrom.FieldRef.FieldPath)
			}
		}
		env, expand = append(env, v.Name+"="+value), append(expand, "$("+v.Name+")", value)
	}
	args := strings.Split(strings.NewReplacer(expand...).Replace(strings.Join(c.Args, "\x00")), "\x00")
	for _, mount := range c.VolumeMounts {
		folder := filepath.Join(n.volumes, mount.Name)
		if mount.Name == "tmp" {
			folder = tmp
		}
		for i, arg := range args {
			flag, path, is := strings.Cut(arg, "=")
			switch {
			case is && strings.HasPrefix(path, mount.MountPath+"/"):
				args[i] = flag + "=" + folder + strings.TrimPrefix(path, mount.MountPath)
			case strings.HasPrefix(arg, mount.MountPath+"/"):
				args[i] = folder + strings.TrimPrefix(arg, mount.MountPath)
			}
		}
	}
	if len(c.Command) != 1 || c.Command[0] != "vkcome" {
		return 0, false, fmt.Errorf("command %q", c.Command)
	}
	cmd := exec.CommandContext(ctx, n.vkcome, args...)
	cmd.Env = env
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return 0, false, err
	}
	ended := make(chan struct{})
	stopped := make(chan bool, 1)
	go func() { stopped <- n.lose(pod, cmd, ended) }()
	err = cmd.Wait()
	close(ended)
	lost = <-stopped
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return 0, false, err
	}
	if code = cmd.ProcessState.ExitCode(); code < 0 {
		code = 137
	}
	how := ""
	if lost {
		how = ", whose node was lost"
	}
	fmt.Printf("%s, %s%s: vkcome %s: exit %d\n", pod.Name, c.Name, how, strings.Join(args, " "), code)
	if code != 0 && !lost {
		fmt.Println(said.String())
	}
	return code, lost, nil
}

// lose kills the process of the pod that is to lose its node, once, and says whether it did.
func (n *node) lose(pod *core.Pod, cmd *exec.Cmd, ended chan struct{}) bool {
	if n.once == "" || !strings.HasPrefix(pod.Name, n.once) {
		return false
	}
	for ; ; time.Sleep(5 * time.Millisecond) {
		select {
		case <-ended:
			return false
		default:
		}
		if found, err := filepath.Glob(filepath.Join(n.volumes, n.when)); err != nil || len(found) == 0 {
			continue
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.lost {
			return false
		}
		n.lost = cmd.Process.Kill() == nil
		return n.lost
	}
}
