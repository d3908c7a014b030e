-- json.lua -- seeds of fuzz_json: texts of RFC 8259.

return {
  object = '{"type":"move","x":12,"y":-3.5,"tags":["a","b"],"ok":true,"none":null}',
  array = "[1, 2.50, -0, 1e3, 1E-7, [], {}, [[[]]]]",
  strings = '["", "\\u0041\\n\\t\\"\\\\\\/\\b\\f\\r", "\\ud83d\\ude00", "äöü€😀"]',
  numbers = "[0, -0.0, 9223372036854775807, -9223372036854775808, 9223372036854775808,"
    .. " 1.7976931348623157e308, 5e-324, 0.1]",
  blanks = " \t\r\n{ \"a\" : [ 1 , 2 ] } \n",
  keys = '{"1":1,"a":{"b":{"c":[{"d":null}]}},"":0,"a":2}',
  word = "true", text = '"just a text"', number = "-12.5e+2",
  deep = ("["):rep(60) .. ("]"):rep(60),
}
