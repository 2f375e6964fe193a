package native

const other = "libm.so.6" // a library that is no loader
