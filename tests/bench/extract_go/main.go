// `extract BLOB FOLDER` is what a program in Go does that nobody has thought much about: the standard
// library's gzip and tar, one file after the other, and a digest over what was read. Nothing is
// synced, and nothing but the digest is checked.
package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if err := extract(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func extract(blob, folder string) error {
	source, err := os.Open(blob)
	if err != nil {
		return err
	}
	defer source.Close()
	digest := sha256.New()
	compressed := io.TeeReader(source, digest)
	plain, err := gzip.NewReader(compressed)
	if err != nil {
		return err
	}
	members := tar.NewReader(plain)
	for {
		header, err := members.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := write(members, header, filepath.Join(folder, header.Name)); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, compressed); err != nil {
		return err
	}
	fmt.Printf("sha256:%x\n", digest.Sum(nil))
	return nil
}

func write(content io.Reader, header *tar.Header, path string) error {
	if header.Typeflag == tar.TypeDir {
		return os.MkdirAll(path, 0o755)
	}
	if header.Typeflag != tar.TypeReg {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, os.FileMode(header.Mode))
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, content); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
