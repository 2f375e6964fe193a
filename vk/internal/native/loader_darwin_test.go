package native

const other = "libSystem.B.dylib" // a library that is no loader
