// `serve FOLDER` is the least that a webhook in Go would do, to compare with: decode, look up, patch,
// encode. `load FOLDER PORT CONNECTIONS SECONDS` sends reviews to any webhook, and prints how many
// were answered: a client in Python would be slower than the servers.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

type volume struct {
	Name  string `json:"name"`
	Claim *struct {
		ClaimName string `json:"claimName"`
	} `json:"persistentVolumeClaim,omitempty"`
}

type review struct {
	Request struct {
		UID    string `json:"uid"`
		Object struct {
			Spec struct {
				Volumes []volume `json:"volumes"`
			} `json:"spec"`
		} `json:"object"`
	} `json:"request"`
}

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

type response struct {
	UID       string `json:"uid"`
	Allowed   bool   `json:"allowed"`
	PatchType string `json:"patchType,omitempty"`
	Patch     []byte `json:"patch,omitempty"`
}

type answer struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Response   response `json:"response"`
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2])
	}
	connections, _ := strconv.Atoi(os.Args[4])
	seconds, _ := strconv.ParseFloat(os.Args[5], 64)
	fmt.Println(load(os.Args[2], os.Args[3], connections, time.Duration(seconds*float64(time.Second))))
}

func serve(folder string) {
	caches := map[string]string{"shared": "shared", "local": "local-aaaaaaaaaaaaa"}
	for n := 0; n < 5000; n++ {
		caches[fmt.Sprintf("cache-%d", n)] = fmt.Sprintf("claim-%d", n)
	}
	http.HandleFunc("/mutate-pods", func(w http.ResponseWriter, r *http.Request) {
		var asked review
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var patch []operation
		for i, v := range asked.Request.Object.Spec.Volumes {
			if v.Claim == nil {
				continue
			}
			if claim, ok := caches[v.Claim.ClaimName]; ok {
				path := fmt.Sprintf("/spec/volumes/%d/persistentVolumeClaim/claimName", i)
				patch = append(patch, operation{"replace", path, claim})
			}
		}
		encoded, _ := json.Marshal(patch)
		done := response{asked.Request.UID, true, "JSONPatch", encoded}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer{"admission.k8s.io/v1", "AdmissionReview", done})
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.ServeTLS(listener, nil, folder+"/tls.crt", folder+"/tls.key"))
}

func load(folder, port string, connections int, length time.Duration) int64 {
	authority, _ := os.ReadFile(folder + "/ca.pem")
	body, _ := os.ReadFile(folder + "/review.json")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pool},
		MaxIdleConnsPerHost: connections,
	}
	client := &http.Client{Transport: transport}
	url := "https://127.0.0.1:" + port + "/mutate-pods"
	until := time.Now().Add(length)
	var done atomic.Int64
	var all sync.WaitGroup
	for n := 0; n < connections; n++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for time.Now().Before(until) {
				reply, err := client.Post(url, "application/json", bytes.NewReader(body))
				if err != nil {
					panic(err)
				}
				text, _ := io.ReadAll(reply.Body)
				reply.Body.Close()
				if !bytes.Contains(text, []byte(`"patch"`)) {
					panic(string(text))
				}
				done.Add(1)
			}
		}()
	}
	all.Wait()
	return done.Load()
}
