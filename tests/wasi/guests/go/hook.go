// A WASI reactor in Go: printing, clock, chance, goroutines, the collector.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"
)

var (
	buffer []uint64 // the exchange buffer, in words so that it is aligned
	result []byte
)

func main() {} // never called: the host calls _initialize

func give(bytes []byte) uint64 {
	result = bytes
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(result))))<<32 | uint64(len(result))
}

//go:wasmexport ph_abi_version
func abiVersion() int32 { return 1 }

//go:wasmexport ph_alloc
func alloc(size uint32) uint32 {
	buffer = make([]uint64, size/8+1)
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(buffer))))
}

//go:wasmexport on_request
func onRequest(length uint32) uint64 {
	chance := make([]byte, 16)
	if _, err := rand.Read(chance); err != nil {
		panic(err)
	}
	now := time.Now()
	fmt.Printf("a record of %d ", length)
	fmt.Println("bytes")
	fmt.Fprintln(os.Stderr, "in year", now.Year())
	if _, err := os.ReadFile("/etc/passwd"); err == nil {
		panic("there are files")
	}
	if len(os.Environ()) != 0 {
		panic("there is an environment")
	}
	name, value := "x-guest", fmt.Sprintf("go %d %s", now.Unix(), hex.EncodeToString(chance))
	list := []byte{1, 3, 0, 0, 1, 0, byte(len(name)), 0, byte(len(value)), 0, 0, 0}
	return give(append(append(list, name...), value...))
}

//go:wasmexport leave
func leave(code uint32) uint64 {
	os.Exit(int(code))
	return 0
}

//go:wasmexport wait
func wait(length uint32) uint64 {
	text := string(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(buffer))), length))
	milliseconds, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	done := make(chan string)
	go func() {
		time.Sleep(time.Duration(milliseconds) * time.Millisecond)
		done <- text
	}()
	return give([]byte(<-done))
}

// Leaves 64 MB of garbage in pieces of 64 KB.
//
//go:wasmexport litter
func litter(length uint32) uint64 {
	for range 1024 {
		result = make([]byte, 1<<16)
	}
	return give([]byte(`"clean"`))
}
