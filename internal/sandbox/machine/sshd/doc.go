// Package sshd is a small SSH server for machines whose root filesystem has
// none. It lets in who a user's ~/.ssh/authorized_keys names, with nothing but
// public keys, and gives commands, shells, terminals, SFTP and connections
// forwarded to other addresses, as OpenSSH would.
package sshd
