// One side of a pair, with Go's crypto/tls. Words and lines as in pair.py; verify=later it has not.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
)

var versions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
var groups = map[string]tls.CurveID{"X25519": tls.X25519, "P-256": tls.CurveP256, "P-384": tls.CurveP384}

func main() {
	log.SetFlags(0)
	positional := 4
	if os.Args[1] == "server" {
		positional = 3
	}
	words := map[string]string{}
	for _, word := range os.Args[positional:] {
		key, value, _ := strings.Cut(word, "=")
		words[key] = value
	}
	own := configuration(words)
	if os.Args[1] == "server" {
		serve(os.Args[2], own, words)
		return
	}
	own.ServerName = os.Args[3]
	times, err := strconv.Atoi(words["times"])
	if err != nil {
		times = 1
	}
	for ; times > 0; times-- {
		call(os.Args[2], own, words)
	}
}

func configuration(words map[string]string) *tls.Config {
	pem, err := os.ReadFile(words["ca"])
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	own := &tls.Config{RootCAs: pool, ClientCAs: pool, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	if words["cert"] != "" {
		pair, err := tls.LoadX509KeyPair(words["cert"], words["key"])
		check(err)
		own.Certificates = []tls.Certificate{pair}
	}
	if words["tls"] != "" {
		own.MinVersion, own.MaxVersion = versions[words["tls"]], versions[words["tls"]]
	}
	if words["alpn"] != "" {
		own.NextProtos = strings.Split(words["alpn"], ",")
	}
	if words["groups"] != "" {
		for _, name := range strings.Split(words["groups"], ":") {
			own.CurvePreferences = append(own.CurvePreferences, groups[name])
		}
	}
	if words["verify"] == "yes" {
		own.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return own
}

func serve(port string, own *tls.Config, words map[string]string) {
	listener, err := net.Listen("tcp", ":"+port)
	check(err)
	for {
		tcp, err := listener.Accept()
		check(err)
		go func() {
			connection := tls.Server(tcp, own)
			reader, end := bufio.NewReader(connection), "close_notify"
			for {
				line, err := reader.ReadBytes('\n')
				if errors.Is(err, io.ErrUnexpectedEOF) {
					end = "nothing"
				} else if err != nil && err != io.EOF {
					fmt.Println("broken:", err)
				}
				if err != nil {
					break
				}
				connection.Write(append(reversed(bytes.TrimRight(line, "\n")), '\n'))
			}
			facts(connection, end)
			finish(connection, tcp)
		}()
	}
}

func call(address string, own *tls.Config, words map[string]string) {
	tcp, err := net.Dial("tcp", net.JoinHostPort(address, "443"))
	check(err)
	connection := tls.Client(tcp, own)
	size, err := strconv.Atoi(words["bytes"])
	if err != nil {
		size = 4
	}
	line := bytes.Repeat([]byte("ping"), size/4)
	_, err = connection.Write(append(append([]byte{}, line...), '\n'))
	check(err)
	heard, err := bufio.NewReader(connection).ReadBytes('\n')
	check(err)
	if words["talk"] != "echo" {
		line = reversed(line)
	}
	if !bytes.Equal(bytes.TrimSpace(heard), line) {
		log.Fatalf("heard %.100q", heard)
	}
	facts(connection, "own")
	if words["end"] == "abrupt" {
		tcp.Close()
		return
	}
	finish(connection, tcp)
}

// Says close_notify, finishes, and waits for the other side's end: closing at once could be a reset.
func finish(connection *tls.Conn, tcp net.Conn) {
	connection.CloseWrite()
	tcp.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, tcp)
	tcp.Close()
}

func reversed(line []byte) []byte {
	back := make([]byte, len(line))
	for at, letter := range line {
		back[len(line)-1-at] = letter
	}
	return back
}

func facts(connection *tls.Conn, end string) {
	state := connection.ConnectionState()
	version := "TLSv1"
	for name, number := range versions {
		if number == state.Version && name != "1.0" {
			version = "TLSv" + name
		}
	}
	line := fmt.Sprintf("facts: version=%s cipher=%s resumed=%t", version, tls.CipherSuiteName(state.CipherSuite), state.DidResume)
	if state.NegotiatedProtocol != "" {
		line += " alpn=" + state.NegotiatedProtocol
	}
	if len(state.PeerCertificates) > 0 {
		line += " certificate=" + state.PeerCertificates[0].Subject.CommonName
	}
	fmt.Println(line + " end=" + end)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
