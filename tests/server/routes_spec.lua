-- routes_spec.lua -- plain HTTP beside the sockets, answered by Lua functions: what a route may
-- return, its argument, and which requests reach no route.

local cjson = require "cjson"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local tw = require "tidewire"
return {
  endpoints = {
    ["/ws"]   = { handle_message = function(conn, message) conn:send(message) end },
    ["/both"] = { handle_message = function(conn, message) conn:send(message) end },
  },
  http = {
    ["/"]               = function() return "the front page" end,
    ["/both"]           = function() return "a page" end,
    ["/status"]         = function() return 204 end,
    ["/teapot"]         = function() return 418 end,
    ["/body"]           = function() return 200, "two values" end,
    ["/bodiless"]       = function(request) return tonumber(request.query.status), "lost" end,
    ["/table"]          = function()
      return {
        status = 201, headers = { ["Content-Type"] = "application/json", ["X-Own"] = "yes" },
        body = '{"a":1}',
      }
    end,
    ["/redirect"]       = function() return { status = 302, headers = { Location = "/" } } end,
    ["/cookies"]        = function()
      return { headers = { ["Set-Cookie"] = { "a=1", "b=2" } }, body = "two" }
    end,
    ["/large"]          = function() return ("0123456789abcdef"):rep(1 << 16) end,
    ["/bytes"]          = function()
      return { headers = { ["Content-Type"] = "image/png" }, body = "\0\1\2\xff" }
    end,
    ["/tagged"]         = function(request)
      return {
        status = tonumber(request.query.status),
        headers = { ETag = request.query.etag, ["Last-Modified"] = request.query.modified },
        body = "tagged",
      }
    end,
    ["/empty"]          = function() return "" end,
    ["/nothing"]        = function() end,
    ["POST /echo"]      = function(request) return request.body end,
    ["PUT /item/:id"]   = function(request) return "put " .. request.params.id end,
    ["GET /item/:id"]   = function(request) return "got " .. request.params.id end,
    ["DELETE /item/:id"] = function(request) return 204 end,
    ["/sleep"]          = function() tw.sleep(0.05) return "slept" end,
    ["/error"]          = function() error("the kitchen is on fire") end,
    ["/sleep/error"]    = function() tw.sleep(0.01) error("later on fire") end,
    ["/bad/status"]     = function() return 42 end,
    ["/bad/type"]       = function() return print end,
    ["/bad/order"]      = function() return { error = "no such game" }, 404 end,
    ["/bad/body"]       = function() return 200, print end,
    ["/bad/header"]     = function()
      return { headers = { ["X-Bad"] = "a\r\nSet-Cookie: stolen" }, body = "x" }
    end,
    ["/bad/header/name"] = function()
      return { headers = { ["X-Bad: a\r\nSet-Cookie"] = "stolen" }, body = "x" }
    end,
    ["/see"]            = function(request)
      return {
        headers = { ["Content-Type"] = "application/json" },
        body = tw.json.encode({
          method = request.method, path = request.path, query = request.query,
          cookies = request.cookies, token = request.headers["x-token"],
          remote_address = request.remote_address, secure = request.secure,
          origin = request.origin or "none", body = request.body or "none",
        }),
      }
    end,
  },
}
]]

describe("HTTP routes", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  it("may return a text, which is the body of a 200", function()
    local response = app:http("/")
    assert.equal(200, response.status)
    assert.equal("the front page", response.body)
    assert.equal("14", response.headers["content-length"])
    assert.is_truthy(response.headers["content-type"]:find("^text/"))
    assert.is_truthy(response.headers.date)
  end)

  it("may return a status, with a body or without", function()
    local response = app:http("/status")
    assert.equal(204, response.status)
    assert.equal("", response.body)
    assert.is_nil(response.headers["content-length"])
    assert.equal(418, app:http("/teapot").status)
    response = app:http("/body")
    assert.same({ 200, "two values" }, { response.status, response.body })
  end)

  it("has no body with a status that allows none", function()
    for _, status in ipairs { 204, 205, 304 } do
      local response = app:http("/bodiless?status=" .. status)
      assert.same({ status, "", status == 205 and "0" or nil },
        { response.status, response.body, response.headers["content-length"] })
    end
  end)

  it("may return a table with status, headers and body", function()
    local response = app:http("/table")
    assert.equal(201, response.status)
    assert.equal("application/json", response.headers["content-type"])
    assert.equal("yes", response.headers["x-own"])
    assert.equal('{"a":1}', response.body)
    response = app:http("/redirect")
    assert.same({ 302, "/", "" }, { response.status, response.headers.location, response.body })
  end)

  it("may give a header several times", function()
    local response = app:http("/cookies")
    assert.equal(200, response.status)
    assert.equal("a=1, b=2", response.headers["set-cookie"])
  end)

  it("may return bytes, much, or an empty text", function()
    assert.equal("\0\1\2\xff", app:http("/bytes").body)
    assert.equal(16 << 16, #app:http("/large").body)
    local response = app:http("/empty")
    assert.same({ 200, "" }, { response.status, response.body })
  end)

  it("are given the request", function()
    local response = app:http({
      path = "/see?a=1&b=x%20y",
      headers = { ["X-Token"] = "t", Cookie = "c=1", Origin = "http://here" },
    })
    assert.same({
      method = "GET", path = "/see", query = { a = "1", b = "x y" }, cookies = { c = "1" },
      token = "t", remote_address = "127.0.0.1", secure = app.addresses[1].tls or false,
      origin = "http://here", body = "none",
    }, cjson.decode(response.body))
  end)

  it("are given the body of a POST, of any size and in chunks too", function()
    for _, body in ipairs({ "x", "a=1&b=2", ("0123456789"):rep(50000), "\0\xff\r\n" }) do
      local response = app:http({ method = "POST", path = "/echo", body = body })
      assert.equal(200, response.status)
      assert.is_true(response.body == body, #body .. " bytes came back changed")
    end
    local response = app:raw("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n")
    assert.equal("hello world", response.body)
  end)

  it("wait for a slow body without delaying others", function()
    local slow = assert(stream.connect(app.addresses[1]))
    slow:write("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    slow:flush()
    assert.equal("the front page", app:http("/").body)
    slow:write("67890")
    assert.is_truthy(loop.wait_until(function() return slow:peek():find("1234567890", 1, true) end))
  end)

  it("refuse a body that is too large with 413, before it was sent", function()
    local response = app:raw("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n")
    assert.equal(413, response.status)
    response =
      app:raw("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n")
    assert.equal(413, response.status)
  end)

  it("answer Expect: 100-continue before the body comes", function()
    local peer = assert(stream.connect(app.addresses[1]))
    peer:write("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: "
      .. "100-continue\r\n\r\n")
    assert.is_truthy(loop.wait_until(function() return peer:peek():find("^HTTP/1.1 100") end))
    peer:write("hello")
    assert.is_truthy(loop.wait_until(function()
      return peer:peek():find("HTTP/1.1 200.*hello$")
    end))
  end)

  it("are chosen by method and path, with parameters", function()
    assert.equal("got 7", app:http("/item/7").body)
    assert.equal("put a b", app:http({ method = "PUT", path = "/item/a%20b", body = "" }).body)
    assert.equal(204, app:http({ method = "DELETE", path = "/item/7" }).status)
  end)

  it("that are none are a 404; with another method a 405 that names the right ones", function()
    for _, path in ipairs({ "/nowhere", "/item", "/item/1/2", "/TABLE" }) do
      local response = app:http(path)
      assert.equal(404, response.status, path)
      assert.is_true(#response.body > 0)
    end
    local response = app:http({ method = "PATCH", path = "/item/7" })
    assert.equal(405, response.status)
    for _, method in ipairs({ "GET", "PUT", "DELETE" }) do
      assert.is_truthy(response.headers.allow:find(method, 1, true), response.headers.allow)
    end
    response = app:http("/echo")
    assert.equal(405, response.status)
    assert.is_truthy(response.headers.allow:find("POST", 1, true))
  end)

  it("answer HEAD as GET without the body", function()
    local response = app:http({ method = "HEAD", path = "/item/7" })
    assert.equal(200, response.status)
    assert.equal("5", response.headers["content-length"])
    assert.equal("", response.body)
  end)

  it("may wait, and do not delay others meanwhile", function()
    local peers = {}
    for index = 1, 10 do
      peers[index] = assert(stream.connect(app.addresses[1]))
      peers[index]:write("GET /sleep HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    end
    assert.equal("the front page", app:http("/").body)
    for _, peer in ipairs(peers) do
      assert.is_truthy(loop.wait_until(function() return peer:peek():find("slept$") end))
    end
  end)

  it("that wait for a client which has disconnected harm nothing", function()
    for _ = 1, 10 do
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write("GET /sleep HTTP/1.1\r\nHost: x\r\n\r\n")
      peer:flush()
      peer:abort()
    end
    assert.equal("slept", app:http("/sleep").body)
  end)

  it("that fail are answered with a bare 500, and the log has file, line and traceback", function()
    for path, why in pairs({
      ["/error"] = "the kitchen is on fire", ["/sleep/error"] = "later on fire",
    }) do
      local response = app:http(path)
      assert.equal(500, response.status)
      assert.is_true(#response.body > 0)
      assert.is_nil(response.body:find("fire", 1, true))
      assert.is_truthy(app:wait_for_log("app%.lua:%d+: " .. why))
    end
    assert.is_truthy(app:log():find("traceback", 1, true))
    assert.equal("the front page", app:http("/").body)
  end)

  it("that return nonsense are a 500 too", function()
    for _, path in ipairs({
      "/nothing", "/bad/status", "/bad/type", "/bad/header", "/bad/header/name", "/bad/order",
      "/bad/body",
    }) do
      local response = app:http(path)
      assert.is_nil(response.headers["set-cookie"], path)
      assert.equal(500, response.status, path)
      assert.is_truthy(app:wait_for_log("error.*" .. path), path)
      assert.is_nil(response.body:find("0x", 1, true), path)
    end
    assert.is_truthy(app:wait_for_log("a status comes first: return 404"))
    assert.is_nil(app:log():find("function: ", 1, true))
  end)

  it("may stand on the path of an endpoint", function()
    assert.equal("a page", app:http("/both").body)
    assert.equal("socket", (app:connect("/both"):ask("socket")))
  end)

  it("are ended cleanly: each answer says how long it is, or ends with the connection", function()
    local peer = assert(stream.connect(app.addresses[1]))
    peer:write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert.equal("eof", peer:wait_end())
    assert.is_truthy(peer:peek():find("the front page$"))
  end)

  it("are not sent again to a client that has them, by the ETag or the date of the function",
    function()
      local DATE, LATER = "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"
      local QUERY = "modified=" .. DATE:gsub(" ", "%%20")
      local function ask(query, headers, method)
        local response =
          app:http({ path = "/tagged?" .. query, headers = headers, method = method })
        return response.status, response.body
      end
      for _, case in ipairs({
        { "etag=%22a%22", { ["If-None-Match"] = '"a"' }, 304 },
        { "etag=W/%22a%22", { ["If-None-Match"] = '"b", "a"' }, 304 },
        { "etag=%22a%22", { ["If-None-Match"] = 'W/"a"' }, 304 },
        { "etag=%22a%22", { ["If-None-Match"] = "*" }, 304 },
        { "etag=%22a%22", { ["If-None-Match"] = '"b"' }, 200 },
        { "etag=%22a%22", {}, 200 },
        { "etag=%22a%22", { ["If-Modified-Since"] = LATER }, 200 },
        { "x=1", { ["If-None-Match"] = '"a"' }, 200 },
        { "x=1", { ["If-Modified-Since"] = LATER }, 200 },
        { QUERY, { ["If-Modified-Since"] = DATE }, 304 },
        { QUERY, { ["If-Modified-Since"] = LATER }, 304 },
        { QUERY, { ["If-Modified-Since"] = "Sunday, 06-Nov-94 08:49:37 GMT" }, 304 },
        { QUERY, { ["If-Modified-Since"] = "Sun Nov  6 08:49:36 1994" }, 200 },
        { QUERY .. "&etag=%22a%22", -- the tag goes first
          { ["If-Modified-Since"] = LATER, ["If-None-Match"] = '"b"' }, 200 },
        { "modified=yesterday", { ["If-Modified-Since"] = DATE }, 200 },
        { "etag=%22a%22&status=404", { ["If-None-Match"] = '"a"' }, 404 },
      }) do
        local status, body = ask(case[1], case[2])
        assert.same({ case[3], case[3] == 304 and "" or "tagged" }, { status, body }, case[1])
      end
      assert.equal(304, (ask("etag=%22a%22", { ["If-None-Match"] = '"a"' }, "HEAD")))
      assert.equal(200, (ask("etag=%22a%22", { ["If-None-Match"] = '"a"' }, "POST")))
    end)
end)
