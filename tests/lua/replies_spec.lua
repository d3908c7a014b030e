-- replies_spec.lua -- the return values of scripts for HTTP, as status, header lines and body.

local fake_core = require "support.fake_core"

local world, replies, json

before_each(function()
  world = fake_core:install()
  replies, json = require "tidewire.http.replies", require "tidewire.json"
end)

after_each(function() world:uninstall() end)

local JSON = "Content-Type: application/json\r\n"

--- The problem with the headers, whose message must not have a place in the library.
local function header_error(headers)
  local ok, message = pcall(replies.new, 200, headers, "x")
  assert.is_false(ok)
  assert.is_nil(message:find("^%S+%.lua:%d+:"), message)
  return message
end

describe("a reply", function()
  it("has status, header lines and body", function()
    assert.same({ status = 200, headers = "X-A: b\r\n", body = "text" },
      replies.new(200, { ["X-A"] = "b" }, "text"))
  end)

  it("without headers has no lines", function()
    assert.equal("", replies.new(204, nil, nil).headers)
  end)

  it("without a body has none", function()
    assert.is_nil(replies.new(204, nil, nil).body)
  end)

  it("writes a body that is no text as text", function()
    assert.equal("42", replies.new(200, nil, 42).body)
    assert.equal("false", replies.new(200, nil, false).body)
  end)

  it("writes a table as JSON, with its Content-Type", function()
    assert.same({ status = 200, headers = JSON, body = '{"n":1}' },
      replies.new(200, nil, { n = 1 }))
  end)

  it("writes an empty array and null as JSON too", function()
    assert.equal("[]", replies.new(200, nil, json.array()).body)
    assert.same({ status = 200, headers = JSON, body = "null" }, replies.new(200, nil, json.null))
  end)

  it("leaves a Content-Type of the script's, in any case", function()
    local reply = replies.new(200, { ["content-TYPE"] = "application/problem+json" }, { n = 1 })
    assert.equal("content-TYPE: application/problem+json\r\n", reply.headers)
  end)

  it("throws for a body that JSON has no form for", function()
    assert.has_error(function() replies.new(200, nil, { print }) end)
  end)

  it("with the status 401 asks for a Bearer token, whatever else it has", function()
    assert.equal("WWW-Authenticate: Bearer\r\n", replies.new(401, nil, "x").headers)
    assert.equal("WWW-Authenticate: Bearer\r\nX-A: b\r\n",
      replies.new(401, { ["X-A"] = "b" }, "x").headers)
    assert.equal(JSON .. "WWW-Authenticate: Bearer\r\n", replies.new(401, nil, {}).headers)
  end)

  it("with the status 401 leaves a WWW-Authenticate of the script's, in any case", function()
    assert.equal("www-authenticate: Basic\r\n",
      replies.new(401, { ["www-authenticate"] = "Basic" }, "x").headers)
  end)

  it("with another status has no WWW-Authenticate", function()
    assert.equal("", replies.new(403, nil, "x").headers)
  end)

  it("does not change the table of headers that it was given", function()
    local headers = { ["X-A"] = "b" }
    replies.new(401, headers, {})
    assert.same({ ["X-A"] = "b" }, headers)
  end)
end)

describe("headers", function()
  it("are sorted, so that a reply is always the same", function()
    assert.equal("A: 1\r\nB: 2\r\nC: 3\r\n",
      replies.new(200, { C = "3", A = "1", B = "2" }).headers)
  end)

  it("may have numbers and booleans as values", function()
    assert.equal("A: 1\r\nB: 1.5\r\nC: true\r\n",
      replies.new(200, { A = 1, B = 1.5, C = true }).headers)
  end)

  it("may come several times, as a list", function()
    local reply = replies.new(200, { ["Set-Cookie"] = { "a=1", "b=2" } })
    assert.equal("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", reply.headers)
  end)

  it("may be empty, and of bytes beyond ASCII", function()
    assert.equal("A: \r\nB: é\r\n", replies.new(200, { A = "", B = "é" }).headers)
  end)

  it("may have each sign that a name can have", function()
    local name = "aZ09!#$%&'*+.^_`|~-"
    assert.equal(name .. ": x\r\n", replies.new(200, { [name] = "x" }).headers)
  end)

  it("are refused with line ends or control characters in the value", function()
    for _, value in ipairs { "a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b", "\27[1m", "\127" } do
      assert.equal("header X-A: a value cannot have line ends or control characters",
        header_error { ["X-A"] = value })
      assert.matches("^header X%-A: ", header_error { ["X-A"] = { "fine", value } })
    end
  end)

  it("are refused with a name that is none", function()
    for _, name in ipairs { "", "X A", "X:A", "X-A\r\nB", "é", "X\0", 1, true } do
      assert.equal(("%q is no header name"):format(tostring(name)), header_error { [name] = "x" })
    end
  end)

  it("are refused where they are no table", function()
    assert.matches("headers", header_error "X-A: b")
    assert.matches("headers", header_error(42))
  end)
end)

describe("a refusal", function()
  it("explains itself in JSON", function()
    local reply = replies.refusal(404, 'no "such" place')
    assert.equal(404, reply.status)
    assert.equal(JSON, reply.headers)
    assert.same({ error = 'no "such" place', status = 404 }, (json.decode(reply.body)))
  end)

  it("may have headers", function()
    assert.equal("Allow: GET\r\n" .. JSON, replies.refusal(405, "no", { Allow = "GET" }).headers)
  end)
end)

describe("what a route returned:", function()
  local function of_route(...)
    local reply, message = replies.of_route(...)
    assert(reply, message)
    return reply
  end

  it("a text is a 200", function()
    assert.same({ status = 200, headers = "", body = "hello" }, of_route "hello")
    assert.same({ status = 200, headers = "", body = "" }, of_route "")
  end)

  it("a status has no body", function()
    assert.same({ status = 204, headers = "" }, of_route(204))
  end)

  it("a status may have a text as body", function()
    assert.same({ status = 201, headers = "", body = "made" }, of_route(201, "made"))
  end)

  it("a status may have a table as JSON body", function()
    assert.same({ status = 201, headers = JSON, body = '{"id":7}' }, of_route(201, { id = 7 }))
  end)

  it("a status may have a table of headers and body", function()
    assert.same({ status = 201, headers = "X-A: b\r\n", body = "made" },
      of_route(201, { headers = { ["X-A"] = "b" }, body = "made" }))
    assert.same({ status = 201, headers = "X-A: b\r\n" },
      of_route(201, { headers = { ["X-A"] = "b" } }))
  end)

  it("a table of status, headers and body is just that", function()
    assert.same({ status = 302, headers = "Location: /\r\n", body = "there" },
      of_route { status = 302, headers = { Location = "/" }, body = "there" })
  end)

  it("a table without status is a 200", function()
    assert.same({ status = 200, headers = "", body = "hello" }, of_route { body = "hello" })
    assert.same({ status = 200, headers = "X-A: b\r\n" }, of_route { headers = { ["X-A"] = "b" } })
  end)

  it("any other table is a 200 with it as JSON", function()
    assert.same({ status = 200, headers = JSON, body = "[1,2]" }, of_route { 1, 2 })
    assert.same({ status = 200, headers = JSON, body = "{}" }, of_route {})
  end)

  it("the first and the last status there are", function()
    assert.equal(200, of_route(200).status)
    assert.equal(599, of_route { status = 599 }.status)
  end)

  it("nothing is a mistake", function()
    local reply, message = replies.of_route()
    assert.is_nil(reply)
    assert.equal("a route must return a status, a body, or { status =, headers =, body = }; it "
      .. "returned nil", message)
  end)

  it("a number that is no status is a mistake", function()
    for _, value in ipairs { 0, 42, 101, 199, 600, 200.5, 200.0 } do
      local reply, message = replies.of_route(value)
      assert.is_nil(reply)
      assert.matches("it returned " .. tostring(value):gsub("%.", "%%."), message)
    end
  end)

  it("a table with a status that is none is a mistake", function()
    for _, value in ipairs { 0, 199, 600, "200", true } do
      local reply, message = replies.of_route { status = value }
      assert.is_nil(reply)
      local got = value == "200" and 'string "200"' or tostring(value)
      assert.equal("status must be an integer from 200 to 599, got " .. got, message)
    end
  end)

  it("a status behind its body is a mistake whose message says so", function()
    for _, value in ipairs { { error = "no such game" }, "no such game", {}, true } do
      local reply, message = replies.of_route(value, 404)
      assert.is_nil(reply)
      assert.matches("^a status comes first: return 404, body; the route returned .*, 404$",
        message)
    end
    local _, message = replies.of_route({}, "text")
    assert.equal("a route that returns two values returns a status and a body; it returned table, "
      .. 'string "text"', message)
  end)

  it("a text and how often string.gsub has replaced in it is the text", function()
    assert.equal("bbb", of_route(("aaa"):gsub("a", "b")).body)
  end)

  it("nil and a message is a mistake that has the message", function()
    local _, message = replies.of_route(nil, "the database is gone")
    assert.matches('it returned nil, string "the database is gone"$', message)
  end)

  it("a body that has no text is a mistake, and never an address", function()
    local thread = coroutine.create(print)
    for _, value in ipairs { print, io.stdout, thread } do
      for _, answer in ipairs {
        { 200, value }, { { body = value } }, { 200, { body = value } }, { value },
      } do
        local ok, reply, message = pcall(replies.of_route, answer[1], answer[2])
        local problem = ok and message or reply
        assert.is_true(not ok or reply == nil)
        assert.is_nil(problem:find("0x", 1, true), problem)
        assert.matches("[dt] " .. type(value), problem)
      end
    end
    assert.same({ "7", "true" }, { of_route(200, 7).body, of_route(200, true).body })
  end)

  it("a header without a text is a mistake", function()
    assert.has_error(function() replies.of_route { headers = { ["X-A"] = print } } end,
      "header X-A: a value must be a string, got a function")
  end)

  it("booleans and functions are mistakes", function()
    for _, value in ipairs { true, false, print } do
      assert.is_nil((replies.of_route(value)))
    end
  end)
end)

describe("sending a reply", function()
  it("answers the request of that number", function()
    replies.send(7, replies.new(201, { ["X-A"] = "b" }, "made"))
    assert.same({ status = 201, headers = "X-A: b\r\n", body = "made" }, world.answers[7])
  end)
end)
