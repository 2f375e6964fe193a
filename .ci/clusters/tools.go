//go:build server

package main

import _ "k8s.io/kubernetes/cmd/kube-apiserver/app" // whose version go.mod holds
