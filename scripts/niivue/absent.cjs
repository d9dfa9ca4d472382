// Stands in for zarrita and numcodecs (chunked cloud images, WebAssembly codecs): report.html loads NIfTI alone.
module.exports = {};
