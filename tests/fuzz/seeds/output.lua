-- output.lua -- seeds of fuzz_output: values of fields, and texts for a terminal.

return {
  plain = "words|two words|x=1|",
  quotes = "\"quoted\"|back\\slash|a\tb\nlevel=error event=forged|",
  terminal = "\27[2J\27]0;title\7|\155|\u{202e}evil|\u{feff}|",
  broken = "\xff\xfe|\xed\xa0\x80|cut \xe2\x82|",
  utf8 = "äöü €|😀|\u{e0001}|\u{2028}|",
  long = ("long "):rep(150) .. "|",
}
