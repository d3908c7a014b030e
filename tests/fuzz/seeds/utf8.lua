-- utf8.lua -- seeds of fuzz_utf8: texts, and such that are not well-formed.

return {
  ascii = "The quick brown fox jumps over the lazy dog.",
  mixed = "Grüße, 世界, мир, 😀",
  long = ("äöü"):rep(12) .. ("a"):rep(40) .. "€",
  borders = "\0\x7f\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}",
  surrogate = "a\xed\xa0\x80",
  overlong = "a\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf",
  too_high = "\xf4\x90\x80\x80",
  cut = ("x"):rep(31) .. "\xe2\x82",
}
