// The least that a webhook in Go would do, to compare with: decode, look up, patch, encode.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
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
	panic(http.ServeTLS(listener, nil, os.Args[1]+"/tls.crt", os.Args[1]+"/tls.key"))
}
