package native

const other = "kernel32.dll" // a library that is no loader
