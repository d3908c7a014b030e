-- json_spec.lua -- reading and writing JSON: strict grammar, numbers that keep their type, and
-- errors that name the place.

local json = require "tidewire.json"

local null, array = json.null, json.array

--- Decodes a text that must be good.
local function decode(text)
  local value, err = json.decode(text)
  assert(err == nil, err)
  return value
end

--- The message for a text that must be refused.
local function refusal(text)
  local value, err = json.decode(text)
  assert(value == nil and type(err) == "string", ("accepted: %q"):format(text))
  return err
end

--- The message for a value that cannot be written, without the place in this file.
local function misuse(value)
  local ok, err = pcall(json.encode, value)
  assert(not ok, "was encoded")
  return (err:gsub("^%S+_spec%.lua:%d+: ", ""))
end

local function is_integer(expected, value)
  assert.equal(expected, value)
  assert.equal("integer", math.type(value))
end

local function is_float(expected, value)
  assert.equal(expected, value)
  assert.equal("float", math.type(value))
end

--- Like assert.same, but 1 and 1.0 differ.
local function alike(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b and math.type(a) == math.type(b)
  end
  for k, v in pairs(a) do
    if not alike(v, b[k]) then
      return false
    end
  end
  for k in pairs(b) do
    if a[k] == nil then
      return false
    end
  end
  return getmetatable(a) == getmetatable(b)
end

describe("json.decode: numbers", function()
  it("reads an integer as an integer", function()
    is_integer(1, decode "1")
    assert.equal("1", tostring(decode "1"))
    is_integer(0, decode "0")
    is_integer(-7, decode "-7")
    is_integer(0, decode "-0")
    is_integer(9007199254740993, decode "9007199254740993") -- no double has this value
  end)

  it("reads every integer that fits 64 bits", function()
    is_integer(math.maxinteger, decode "9223372036854775807")
    is_integer(math.mininteger, decode "-9223372036854775808")
    is_integer(-math.maxinteger, decode "-9223372036854775807")
    is_integer(1000000000000000000, decode "1000000000000000000")
  end)

  it("refuses an integer beyond 64 bits with the reason", function()
    assert.equal("integer 12345678901234567890 at byte 7 does not fit 64 bits; send it as a string",
      refusal '{"id":12345678901234567890}')
    for _, text in ipairs { "9223372036854775808", "-9223372036854775809", "18446744073709551615",
      "18446744073709551616", "99999999999999999999", "100000000000000000000000000000" } do
      assert.matches("does not fit 64 bits", refusal(text))
    end
    assert.matches("^integer 1000000000000000000000000000000000000000%.%.%. at byte 1 ",
      refusal("1" .. ("0"):rep(300)))
  end)

  it("reads a fraction or an exponent as a float", function()
    is_float(1.0, decode "1.0")
    is_float(1000.0, decode "1e3")
    is_float(1000.0, decode "1E+3")
    is_float(0.001, decode "1e-3")
    is_float(-2.5, decode "-2.5")
    is_float(0.0, decode "0.0")
    is_float(0.0, decode "0e999")
    assert.equal("-0.0", tostring(decode "-0.0"))
    is_float(12345678901234567890.0, decode "12345678901234567890.0")
  end)

  it("rounds a float to the nearest double", function()
    for _, text in ipairs { "0.1", "0.30000000000000004", "1.7976931348623157e308", "5e-324",
      "2.2250738585072014e-308", "123456789.123456789", "9007199254740993.0", "1e22", "1e23",
      "0.000001", "3.141592653589793238462643383279", "8.41e21", "9007199254740992e3",
      "1" .. ("0"):rep(25) .. "e-25", "0." .. ("0"):rep(30) .. "1e31", "4.35", "1e-22" } do
      is_float(tonumber(text) + 0.0, decode(text))
    end
  end)

  it("refuses a float that is too large, or so small that it becomes zero", function()
    assert.equal("the number 1e400 at byte 2 is too large for a 64-bit float", refusal "[1e400]")
    assert.equal("the number -1e400 at byte 1 is too large for a 64-bit float", refusal "-1e400")
    assert.equal("the number 1e-400 at byte 1 is too small for a 64-bit float", refusal "1e-400")
    assert.matches("too large", refusal "1e99999999999999999999")
    assert.matches("too small", refusal "1e-99999999999999999999")
    assert.matches("too large", refusal(("9"):rep(400) .. ".0"))
  end)
end)

describe("json.decode: the grammar", function()
  local accepted = {
    ["true"] = true, ["false"] = false, ['""'] = "", ['"a"'] = "a", [" \t\r\n1 \t\r\n"] = 1,
    ["[]"] = {}, ["[ ]"] = {}, ["{}"] = {}, ["{ }"] = {}, ["[1]"] = { 1 }, ["[ 1 , 2 ]"] = { 1, 2 },
    ["[[],[[]]]"] = { {}, { {} } }, ['{"a":1}'] = { a = 1 },
    ['{ "a" : 1 , "b" : [ ] }'] = { a = 1, b = {} }, ['{"":0}'] = { [""] = 0 },
    ['{"a":{"a":{}}}'] = { a = { a = {} } }, ['"\127"'] = "\127", ['"\\u0000"'] = "\0",
    ['"a\\u0000b"'] = "a\0b", ['{"\\u0000":1}'] = { ["\0"] = 1 },
    ['"\\"\\\\\\/\\b\\f\\n\\r\\t"'] = '"\\/\b\f\n\r\t', ['"\\u00e9\\u20AC"'] = "é€",
    ['"\\ud83d\\ude00"'] = "😀", ['"\\uD800\\uDC00\\uDBFF\\uDFFF"'] = "\u{10000}\u{10FFFF}",
    ['"\\uFFFF\\u007f\\u0080\\u07ff\\u0800"'] = "\u{FFFF}\u{7F}\u{80}\u{7FF}\u{800}",
    ['"é€😀"'] = "é€😀", ['"é\\n😀"'] = "é\n😀", ['"// no /* comment */"'] = "// no /* comment */",
    ["[true,false]"] = { true, false }, ["-1"] = -1, ["1.5e+2"] = 150.0,
  }
  for text, value in pairs(accepted) do
    it("accepts " .. ("%q"):format(text), function()
      assert.same(value, decode(text))
    end)
  end

  local refused = {
    -- not a value, or not one value
    "", " ", "\n", "\0", "nul", "nulll", "tru", "True", "TRUE", "fals", "undefined", "NaN", "nan",
    "Infinity", "-Infinity", "inf", "1 2", "1,", "[] []", "{}}", "]", "}", ",", ":", "//", "/**/1",
    "1//", "#1", "a", "'a'", "1\0", "[1]\0", "\v1", "\f1", "\u{A0}1", "\u{FEFF}1", "\xef\xbb\xbf{}",
    "\xff\xfe1\0",
    -- numbers
    "-", "+1", "01", "-01", "00", "1.", ".5", "-.5", "1.e3", "1e", "1e+", "1e-", "1E", "1.5.5",
    "0x10", "1_000", "1a", "- 1", "--1", "1e1.5", "0e", "1,5", "0b1", "١", "1 000", "1ee2",
    -- strings
    '"', '"a', '"a\\', '"a\\"', '"\\', '"\\x41"', '"\\a"', '"\\\'"', '"\\0"', '"\\u"', '"\\u1"',
    '"\\u12"', '"\\u123"', '"\\u123g"', '"\\u 123"', '"\\u+123"', '"\\U0041"', '"\n"', '"\t"',
    '"\0"', '"\31"', '"a\nb"', '"\\\n"', '"\\ud800"', '"\\ud800a"', '"\\ud800\\n"',
    '"\\ud800\\u0041"', '"\\ud800\\ud800"', '"\\ud800\\ue000"', '"\\udc00"', '"\\udfff\\ud800"',
    '"\\ud83d\\u"', '"\\ud83d\\ude0"', '"\\ud83d', '"\\ud83d\\', '"\\ud83d\\u',
    -- UTF-8
    '"\x80"', '"\xff"', '"\xfe"', '"\xc0\x80"', '"\xc1\xbf"', '"\xc3"', '"\xe2\x82"',
    '"\xe0\x80\x80"', '"\xed\xa0\x80"',
    '"\xed\xbf\xbf"', '"\xf0\x80\x80\x80"', '"\xf4\x90\x80\x80"', '"\xf5\x80\x80\x80"',
    '"\xf0\x9f\x98"', '"é\xe9"', '"plain text that is long\xff"', '"\\n\xff"', '{"\xff":1}',
    '"é\\u00e9\xe9"',
    -- arrays
    "[", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1,,2]", "[1 2]", "[1:2]", "[1}", "[]]", "[[]",
    '["a" "b"]', "[1,\n", "[-]",
    -- objects
    "{", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', '{,}', '{,"a":1}', '{"a" 1}', '{"a",1}',
    '{"a":1 "b":2}', '{"a"::1}', "{a:1}", "{'a':1}", "{1:1}", "{null:1}", '{"a":}', '{"a":1]',
    '{"a":1,,"b":2}', "{[]:1}", '{"a":1;"b":2}',
    '{"a":1}}', '{"a"}', '{"a":1:2}', "{\"a\":1,\n}",
  }
  for _, text in ipairs(refused) do
    it("refuses " .. ("%q"):format(text):gsub("\n", "n"), function()
      assert.matches(" byte %d+", refusal(text))
    end)
  end

  it("lets the later of two equal keys win", function()
    assert.same({ a = 3, b = 2 }, decode '{"a":1,"b":2,"a":3}')
    assert.same({ a = "x" }, decode '{"a":[1,2],"\\u0061":"x"}')
    local many = {}
    for i = 1, 100 do
      many[i] = ('"k%d":%d'):format(i % 10, i)
    end
    local value = decode("{" .. table.concat(many, ",") .. "}")
    for i = 0, 9 do
      assert.equal(i == 0 and 100 or 90 + i, value["k" .. i])
    end
  end)

  it("takes text only", function()
    assert.has_error(function() json.decode(nil) end)
    assert.has_error(function() json.decode(12) end)
    assert.has_error(function() json.decode() end)
  end)

  it("reads long strings, arrays and objects whole", function()
    local text = ("0123456789 é "):rep(5000)
    assert.equal(text, decode('"' .. text .. '"'))
    assert.equal(text .. "\n" .. text, decode('"' .. text .. "\\n" .. text .. '"'))
    for _, n in ipairs { 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 1000 } do
      local elements, members = {}, {}
      for i = 1, n do
        elements[i] = tostring(i)
        members[i] = ('"k%d":%d'):format(i, i)
      end
      local list, object = decode("[" .. table.concat(elements, ",") .. "]"),
        decode("{" .. table.concat(members, ",") .. "}")
      assert.equal(n, #list)
      for i = 1, n do
        assert.equal(i, list[i])
        assert.equal(i, object["k" .. i])
      end
    end
  end)
end)

describe("json.decode: messages", function()
  local messages = {
    [""] = "expected a value at byte 1, but the text is empty",
    ["   "] = "expected a value at byte 1, but the text is empty",
    ["[1,"] = "expected a value at byte 4, but the text ends",
    ["[1,]"] = "expected an element after ',' at byte 4, but there is ']'",
    ["[1 2]"] = "expected ',' or ']' after an element at byte 4, but there is '2'",
    ['{"a":1'] = "expected ',' or '}' after a member at byte 7, but the text ends",
    ['{"a":1,}'] = "expected a key in double quotes at byte 8, but there is '}'",
    ["{a:1}"] = "expected a key in double quotes at byte 2, but there is 'a'",
    ['{"a" 1}'] = "expected ':' after a key at byte 6, but there is '1'",
    ["NaN"] = "expected a value at byte 1, but there is 'N'",
    ["{}x"] = "expected the end of the text at byte 3, but there is 'x'",
    ["01"] = "the number at byte 1 starts with a needless 0",
    ["1.x"] = "expected a digit after the decimal point at byte 3, but there is 'x'",
    ["\0"] = "expected a value at byte 1, but there is the byte 0x00",
    ["\xef\xbb\xbf{}"] = "there is a byte order mark at byte 1; JSON is sent without one",
    ['["abc'] = "the string that starts at byte 2 has no closing quote",
    ['["a\tb"]'] = "the control character at byte 4 must be written as an escape in a string",
    ['["\xff"]'] = "the string that starts at byte 2 is not valid UTF-8",
    ['["\\ud800"]'] =
      "the escape at byte 3 is the first half of a surrogate pair without the second",
    ['["\\udc00"]'] =
      "the escape at byte 3 is the second half of a surrogate pair without the first",
    ['["\\u12"]'] = "the escape \\u at byte 3 needs four hexadecimal digits",
    ["{\n  \"a\": 1,\n  b: 2\n}"] =
      "expected a key in double quotes at byte 15 (line 3), but there is 'b'",
  }
  for text, message in pairs(messages) do
    it(message, function()
      assert.equal(message, refusal(text))
    end)
  end
end)

describe("json: null and arrays", function()
  it("has one null, which prints as null and is not nil", function()
    assert.equal(null, decode "null")
    assert.equal("null", tostring(null))
    assert.is_not_nil(null)
    assert.same({ 1, null, 3 }, decode "[1,null,3]")
    assert.equal(null, decode('{"a":null}').a)
    assert.equal("[null]", json.encode { null })
    assert.equal("null", json.encode(null))
  end)

  it("does not let null be changed for all", function()
    assert.has_error(function() null.x = 1 end)
    assert.has_error(function() setmetatable(null, {}) end)
    assert.is_false(getmetatable(null))
  end)

  it("writes an empty table as an object, unless it is an array", function()
    assert.equal("{}", json.encode {})
    assert.equal("[]", json.encode(array()))
    assert.equal("[]", json.encode(array {}))
    assert.equal('{"list":[]}', json.encode { list = array() })
  end)

  it("keeps empty arrays and objects apart on a round trip", function()
    assert.equal("[]", json.encode(decode "[]"))
    assert.equal("{}", json.encode(decode "{}"))
    assert.equal("[[],{},[[]]]", json.encode(decode "[[],{},[[]]]"))
  end)

  it("writes a decoded array as an array still when it has been emptied", function()
    local list = decode "[1,2]"
    table.remove(list)
    table.remove(list)
    assert.equal("[]", json.encode(list))
    table.insert(list, "x")
    assert.equal('["x"]', json.encode(list))
  end)

  it("marks its argument, once or twice, and no table that has another metatable", function()
    local t = { 1 }
    assert.equal(t, array(t))
    assert.equal(t, array(t))
    assert.equal("[1]", json.encode(t))
    assert.has_error(function() array(setmetatable({}, {})) end)
    assert.has_error(function() array(1) end)
  end)

  it("takes the null of lua-cjson", function()
    assert.equal("[null]", json.encode { require("cjson").null })
  end)
end)

describe("json.encode: numbers", function()
  it("writes integers with all digits", function()
    for _, n in ipairs { 0, 1, -1, 9, 10, 99, 100, 12345678901234567, 9007199254740993,
      math.maxinteger,
      math.mininteger, -math.maxinteger } do
      assert.equal(("%d"):format(n), json.encode(n))
    end
  end)

  it("writes floats so that they come back as the same floats, in few digits", function()
    local texts = {
      { 1.0, "1.0" }, { -1.5, "-1.5" }, { 100.0, "100.0" }, { 0.1, "0.1" }, { 19.99, "19.99" },
      { 0.1 + 0.2, "0.30000000000000004" }, { 1 / 3, "0.3333333333333333" }, { 0.0001, "0.0001" },
      { 0.00001, "1e-05" }, { 123456.789, "123456.789" },
      { 999999999999999.9, "999999999999999.9" }, { 99999.99999999999, "99999.99999999999" },
      { 2.0 ^ 53, "9007199254740992.0" }, { 1e15, "1e+15" }, { 2.0 ^ 63, "9.223372036854776e+18" },
      { 1e21, "1e+21" }, { 1.5e300, "1.5e+300" }, { 1e-7, "1e-07" }, { 0.0, "0.0" },
      { -0.0, "-0.0" },
    }
    for _, case in ipairs(texts) do
      local x, text = case[1], case[2]
      assert.equal(text, json.encode(x))
      is_float(x, decode(text))
    end
    for _, x in ipairs { 5e-324, 1.7976931348623157e308, 2.2250738585072014e-308 } do
      is_float(x, decode(json.encode(x)))
    end
  end)

  it("writes any float in the fewest digits that read back as it", function()
    math.randomseed(20240229)
    local function digits(text)
      return #text:gsub("e.*", ""):gsub("[-.]", ""):gsub("^0+", ""):gsub("0+$", "")
    end
    local function check(x)
      local text, shortest = json.encode(x), nil
      is_float(x, decode(text))
      for precision = 15, 17 do
        shortest = ("%." .. precision .. "g"):format(x)
        if tonumber(shortest) + 0.0 == x then
          break
        end
      end
      assert(digits(text) == digits(shortest), text .. " " .. shortest)
    end
    for _ = 1, 1500 do
      check(math.random() * 10.0 ^ math.random(-12, 20))
      check(math.random(1, 10 ^ 9) / 10 ^ math.random(0, 12))
      local power = 2.0 ^ math.random(-60, 60)
      check(power)
      check(power * (1 + 2 ^ -52))
      check(power * (1 - 2 ^ -53))
      local any = string.unpack("d", string.pack("i8", math.random(0)))
      if any == any and math.abs(any) ~= math.huge then
        check(any)
      end
    end
  end)

  it("reads and writes a dot whatever the locale has", function()
    local before = os.setlocale(nil, "numeric")
    local set
    for _, name in ipairs { "de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "nl_NL.UTF-8", "pl_PL.UTF-8" } do
      set = set or os.setlocale(name, "numeric")
    end
    if not set then
      return pending "no locale with a decimal comma is installed"
    end
    local ok, err = pcall(function()
      assert.equal("[0.5,1.2345678901234567e+30]", json.encode { 0.5, 1.2345678901234567e30 })
      is_float(1.2345678901234567e30, decode "1.2345678901234567e30")
      is_float(0.5, decode "0.5")
    end)
    os.setlocale(before, "numeric")
    assert(ok, err)
  end)

  it("refuses NaN and infinities, and names the place", function()
    assert.equal("value is NaN: JSON has no such number", misuse(0 / 0))
    assert.equal("value.players[3].x is NaN: JSON has no such number",
      misuse { players = { {}, {}, { x = 0 / 0 } } })
    assert.equal("value[2] is infinite: JSON has no such number", misuse { 1, math.huge })
    assert.matches("infinite", misuse(-math.huge))
  end)
end)

describe("json.encode: strings", function()
  it("escapes what JSON demands, and nothing else", function()
    assert.equal([["\"\\\b\f\n\r\t\u0000\u001f"]], json.encode "\"\\\b\f\n\r\t\0\31")
    assert.equal('"/ \127 é € 😀 \u{2028}"', json.encode "/ \127 é € 😀 \u{2028}")
    assert.equal([[{"a\nb":1}]], json.encode { ["a\nb"] = 1 })
    for c = 0, 127 do
      for _, text in ipairs {
        string.char(c), "1234567" .. string.char(c), string.char(c):rep(20),
      } do
        assert.equal(text, decode(json.encode(text)))
      end
    end
  end)

  it("refuses text that is not UTF-8, and names the place", function()
    local message = "%s is not valid UTF-8: send it with the binary codec or encode it as base64"
    assert.equal(message:format "value", misuse "\xff")
    assert.equal(message:format "value.avatar", misuse { avatar = "plain text and then \x80" })
    assert.equal(message:format 'value["a b"][1]', misuse { ["a b"] = { "\xed\xa0\x80" } })
    assert.equal("a key of value.x is not valid UTF-8: JSON is always UTF-8",
      misuse { x = { ["\xff"] = 1 } })
  end)
end)

describe("json.encode: tables", function()
  it("writes keys 1 to n as an array, whatever order they were set in", function()
    assert.equal("[1,2,3]", json.encode { 1, 2, 3 })
    local backwards = {}
    for i = 20, 1, -1 do
      backwards[i] = i
    end
    assert.equal("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]", json.encode(backwards))
    local mixed = { nil, nil, 3 }
    mixed[2], mixed[1] = 2, 1
    assert.equal("[1,2,3]", json.encode(mixed))
  end)

  it("refuses arrays with holes, and says what to do", function()
    local message =
      "the array %s has holes: use tw.null for missing elements, or string keys for an object"
    assert.equal(message:format "value.x", misuse { x = { 1, nil, 3 } })
    assert.equal(message:format "value", misuse { [2] = 1 })
    assert.equal(message:format "value", misuse { [1] = 1, [1000000] = 1 })
    assert.equal(message:format "value[1]", misuse { array { [5] = true } })
  end)

  it("refuses keys that go with neither array nor object", function()
    local message =
      "%s has the key %s: the keys of a table must be 1 to n, for an array, or all strings, "
        .. "for an object"
    assert.equal(message:format("value", "0"), misuse { [0] = 1 })
    assert.equal(message:format("value", "-1"), misuse { [-1] = 1 })
    assert.equal(message:format("value.t", "1.5"), misuse { t = { [1.5] = 1 } })
    assert.equal(message:format("value", "(a boolean)"), misuse { [true] = 1 })
    assert.equal(message:format("value", "(a table)"), misuse { [{}] = 1 })
    assert.equal(message:format("value", '"a"'), misuse(array { a = 1 }))
    assert.matches('^value has the key [1"]', misuse { 1, a = 2 })
  end)

  it("goes past metamethods", function()
    local t = setmetatable({ a = 1 }, {
      __index = function() error "__index" end,
      __pairs = function() error "__pairs" end,
      __len = function() error "__len" end,
      __name = "thing",
    })
    assert.equal('{"a":1}', json.encode(t))
    assert.equal("[7]", json.encode(setmetatable({ 7 }, getmetatable(t))))
  end)

  it("refuses what JSON has no value for, and names the place", function()
    assert.matches("^value is a function: JSON has only", misuse(print))
    assert.matches("^value%.cb is a function:", misuse { cb = print })
    assert.matches("^value%[1%] is a thread:", misuse { coroutine.create(print) })
    assert.matches("^value%.f is a userdata:", misuse { f = io.stdout })
    assert.equal("value is nil: JSON's null is tw.null", misuse(nil))
    assert.has_error(function() json.encode() end)
  end)

  it("blames the line that called it", function()
    local _, err = pcall(function() json.encode(print) end)
    assert.matches("json_spec%.lua:%d+: value is a function", err)
  end)

  it("shortens long keys and long paths, and shows no bytes that a terminal obeys", function()
    local deep = 0 / 0
    for i = 1, 60 do
      deep = { ["k" .. i] = deep }
    end
    assert.equal("value.k60.k59.k58.k57.k56.k55.k54.k53....k8.k7.k6.k5.k4.k3.k2.k1 is NaN: "
      .. "JSON has no such number", misuse(deep))
    assert.matches('^value%["a%?%[31m"%] is', misuse { ["a\27[31m"] = print })
    assert.matches('^value%["x+%.%.%."%] is', misuse { [("x"):rep(1000)] = print })
  end)

  it("works again after a failure", function()
    misuse { "text", { print } }
    assert.equal('["text"]', json.encode { "text" })
  end)
end)

describe("json: depth", function()
  local function nested(n)
    return ("["):rep(n) .. ("]"):rep(n)
  end

  it("reads and writes 128 levels", function()
    assert.equal(nested(128), json.encode(decode(nested(128))))
    local objects = ('{"a":'):rep(128) .. "1" .. ("}"):rep(128)
    assert.equal(objects, json.encode(decode(objects)))
  end)

  it("refuses to read more", function()
    assert.equal("the value at byte 129 is nested deeper than 128 levels", refusal(nested(129)))
    assert.matches("nested deeper", refusal(("["):rep(1000000)))
    assert.matches("nested deeper", refusal(('{"a":'):rep(1000000)))
  end)

  it("refuses to write more", function()
    local deep = { "x" }
    for _ = 1, 128 do
      deep = { deep }
    end
    assert.matches("^value%[1%].*%[1%] is nested deeper than 128 levels$", misuse(deep))
  end)

  it("names a cycle", function()
    local t = { children = { {} } }
    t.children[1].parent = t
    assert.equal("value.children[1].parent is the same table as value: JSON cannot hold a cycle",
      misuse(t))
    local a, b = {}, {}
    a.b, b.a = b, a
    assert.matches("^value%.x%.[ab]%.[ab] is the same table as value%.x: ", misuse { x = a })
    local twice = { 1 }
    assert.equal('[[1],[1]]', json.encode { twice, twice })
  end)
end)

describe("json: round trips", function()
  local make

  local function text()
    local characters = {}
    for i = 1, math.random(0, 40) do
      characters[i] =
        utf8.char(math.random(4) > 1 and math.random(0, 127) or math.random(0xE000, 0x10FFFF))
    end
    return table.concat(characters)
  end

  local makers = {
    text,
    function() return math.random(0) end,
    function() return math.random(-1000, 1000) end,
    function() return math.random() * 10.0 ^ math.random(-20, 20) end,
    function() return math.random(0, 1) == 1 end,
    function() return null end,
    function(depth)
      local list = array()
      for i = 1, math.random(0, 40) do
        list[i] = make(depth + 1)
      end
      return list
    end,
    function(depth)
      local object = {}
      for _ = 1, math.random(0, 20) do
        object[text()] = make(depth + 1)
      end
      return object
    end,
  }

  function make(depth)
    return makers[math.random(depth > 4 and 6 or #makers)](depth)
  end

  it("gives back any value as it was", function()
    math.randomseed(8259)
    for _ = 1, 200 do
      local value = make(1)
      assert.is_true(alike(array { value }, array { decode(json.encode(value)) }))
    end
  end)

  it("agrees with lua-cjson, numbers aside", function()
    local cjson = require("cjson").new()
    local function plain(value) -- as lua-cjson has it
      if value == null then
        return cjson.null
      elseif type(value) == "number" then
        return 0
      elseif type(value) ~= "table" then
        return value
      end
      local copy = {}
      for k, v in pairs(value) do
        copy[k] = plain(v)
      end
      return copy
    end
    math.randomseed(7159)
    for _ = 1, 200 do
      local value = plain(make(1))
      assert.same({ value }, cjson.decode(json.encode { value }))
      assert.same({ value }, plain(decode(cjson.encode { value })))
    end
  end)
end)

describe("json: hostile input", function()
  local good = '{"a":[1,-2.5e3,true,false,null,"x\\n\\u00e9\\ud83d\\ude00é😀",{}],'
    .. '"b":{"c":[[]]},"d":"plain text"}'

  it("refuses every text that is cut short", function()
    for i = 0, #good - 1 do
      assert.matches(" byte %d+", refusal(good:sub(1, i)))
    end
  end)

  it("answers every text with a value or a message", function()
    math.randomseed(1)
    local bytes = '[]{}",:\\u0123456789eE+-.truefalsn \n\0\xff\xc3\xa9'
    for _ = 1, 6000 do
      local at = math.random(#good)
      local text
      if math.random(2) == 1 then
        local pick = math.random(#bytes)
        text = good:sub(1, at - 1) .. bytes:sub(pick, pick) .. good:sub(at + math.random(0, 2))
      else
        local t = {}
        for i = 1, math.random(1, 30) do
          local pick = math.random(#bytes)
          t[i] = bytes:sub(pick, pick)
        end
        text = table.concat(t)
      end
      local value, err = json.decode(text)
      if value == nil then
        assert.matches(" byte %d+", err)
      else
        assert.is_nil(err)
        assert.is_true(alike(array { value }, array { decode(json.encode(value)) }))
      end
    end
  end)

  it("survives a collector that works between any two steps", function()
    collectgarbage("setpause", 0)
    collectgarbage("setstepmul", 10000)
    local in_finalizer = 0
    for _ = 1, 300 do
      -- A finalizer that uses the codec while the codec makes a table or a string.
      setmetatable({}, { __gc = function()
        in_finalizer =
          in_finalizer + (json.encode { "\n" } == '["\\n"]' and decode('"\\n"') == "\n" and 1 or 0)
      end })
      assert.equal("plain text", decode(good).d)
      assert.equal('["a\\nb"]', json.encode(decode '["a\\nb"]'))
    end
    collectgarbage("setpause", 200)
    collectgarbage("setstepmul", 100)
    collectgarbage()
    assert.is_true(in_finalizer >= 299)
  end)
end)
