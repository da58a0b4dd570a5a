// Package foreign is the one door to what others wrote and a computer runs: programs that
// we start (python3, apt-get) and libraries that we load (PJRT plug-ins, onnxruntime).
//
// Whoever works in a folder that they unpacked or cloned must not run what lies in it. So
// programs and libraries come from absolute paths outside of the working folder alone, and
// programs get an empty working folder, a search path of such folders and an environment
// that holds what names the user and the way to the network, and nothing that changes what
// a program does. They end when we end.
package foreign
