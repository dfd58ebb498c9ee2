// Sends one hello: hello HOST PORT [tls10|tls12|tls13|h2].
package main

import (
	"crypto/tls"
	"os"
)

func main() {
	config := &tls.Config{ServerName: os.Args[1]}
	if len(os.Args) > 3 {
		switch os.Args[3] {
		case "tls10":
			config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
		case "tls12":
			config.MaxVersion = tls.VersionTLS12
		case "tls13":
			config.MinVersion = tls.VersionTLS13
		case "h2":
			config.NextProtos = []string{"h2", "http/1.1"}
		}
	}
	connection, err := tls.Dial("tcp", "127.0.0.1:"+os.Args[2], config)
	if err == nil {
		connection.Close()
	}
}
