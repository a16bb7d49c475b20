// Package inside is what bake's own binary does when it is started as a
// process inside a root, or as the helper that owns a user namespace.
//
// It has the one init function of this program, which never returns in such a
// process. Go initialises packages in the order of their import paths as soon
// as what they import is ready; this package imports nothing but small
// packages of the standard library, so it takes over before the large
// dependencies of bake are initialised. A child that starts from main would
// pay for all of them, at every step of every build. BenchmarkStart in package
// rootfs measures it.
package inside
