-- http_client_spec.lua -- tw.http.request against real servers: its requests, its results, its
-- limits, and that only the calling hook waits. tests/lua/http_client_spec.lua tests invalid
-- arguments.

local cjson = require "cjson"
local client = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

-- "/" asks what a message says and sends what came of it; "/echo" is there to see that others go
-- on.
local APP = [[
local tw = require "tidewire"
local record = require "record"

local function ask(options)
  local ok, answer, problem = pcall(tw.http.request, options)
  if not ok then return { thrown = answer } end
  if not answer then return { problem = problem } end
  local headers = {}
  for name, value in pairs(answer.headers) do headers[name] = value end
  return {
    status = answer.status, headers = headers, size = #answer.body,
    hex = #answer.body <= 1000
      and answer.body:gsub(".", function(c) return ("%02x"):format(c:byte()) end) or nil,
  }
end

return {
  endpoints = {
    ["/"] = {
      codec = "json", handle_message = function(conn, options) conn:send(ask(options)) end,
    },
    ["/echo"] = { handle_message = function(conn, message) conn:send(message) end },
    ["/large"] = {
      handle_message = function(conn, url)
        local answer =
          assert(tw.http.request { url = url, body = ("0123456789abcdef"):rep(1 << 16) })
        conn:send(#answer.body .. " " .. tostring(answer.body == ("fedcba9876543210"):rep(1 << 16)))
      end,
    },
  },
}
]]

local quiet = { no_proxy = "*" } -- whatever the machine's own settings are

local app, origin, ada -- the program, the server it asks, a client that makes it ask

--- Makes the program ask, and returns what came of it.
local function ask(options)
  local reply = cjson.decode((ada:ask(cjson.encode(options), 60)))
  reply.body =
    reply.hex and reply.hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  return reply
end

--- The server that is asked, until the test ends.
local function start_origin(respond)
  origin = origins.start(respond)
  return origin
end

--- A server that answers every request with these bytes, and ends the connection where that is
--- asked for.
local function start_raw(bytes, ends)
  return start_origin(function(peer)
    peer:write(bytes)
    if ends then peer:finish() end
  end)
end

local function start()
  app = server.start({ app = APP, environment = quiet })
  ada = app:connect("/")
end

local function stop()
  if origin then origin:close() end
  origin = nil
end

describe("tw.http.request sends", function()
  setup(function()
    start()
  end)
  teardown(function() app:stop() end)
  before_each(function()
    start_origin(function(peer) peer:answer(200, { ["X-Seen"] = "yes" }, "hello") end)
  end)
  after_each(stop)

  --- The request as the other server saw it.
  local function sent(options)
    options.url = origin.url .. (options.url or "/")
    local reply = ask(options)
    assert.same({ 200, "yes" }, { reply.status, reply.headers and reply.headers["x-seen"] },
      cjson.encode(reply))
    assert.equal("hello", options.method ~= "HEAD" and reply.body or "hello")
    return origin.requests[#origin.requests]
  end

  it("a plain GET", function()
    local request = sent { url = "/a/b?c=d%20e" }
    assert.same({ "GET", "/a/b?c=d%20e", "" }, { request.method, request.target, request.body })
    assert.equal("127.0.0.1:" .. origin.port, request.headers.host)
    assert.matches("^tidewire/%d", request.headers["user-agent"])
    for _, name in ipairs({
      "content-length", "content-type", "expect", "authorization", "cookie",
    }) do
      assert.is_nil(request.headers[name], name)
    end
  end)

  it("a body as it is, without a type of its own making", function()
    local request = sent { body = "a=1&b=ä\0\1" }
    assert.same({ "POST", "a=1&b=ä\0\1" }, { request.method, request.body })
    assert.is_nil(request.headers["content-type"])
    assert.is_nil(request.headers.expect)
  end)

  it("a table as JSON", function()
    local request = sent { method = "PUT", body = { name = "ada", list = { 1, 2 } } }
    assert.same({ "PUT", "application/json" }, { request.method, request.headers["content-type"] })
    assert.same({ name = "ada", list = { 1, 2 } }, cjson.decode(request.body))
  end)

  it("any method, with and without a body", function()
    for _, method in ipairs({ "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE" }) do
      local request = sent { method = method, body = "x" }
      assert.same({ method, "x", "1" },
        { request.method, request.body, request.headers["content-length"] })
      request = sent { method = method }
      assert.same({ method, "" }, { request.method, request.body })
    end
    assert.equal("HEAD", sent({ method = "HEAD" }).method)
  end)

  it("Content-Length: 0 where a body is to be expected", function()
    for _, method in ipairs({ "POST", "PUT", "PATCH" }) do
      assert.equal("0", sent({ method = method }).headers["content-length"])
    end
    assert.is_nil(sent({ method = "DELETE" }).headers["content-length"])
  end)

  it("headers: one, several of a name, empty ones, and in place of its own", function()
    local request = sent {
      headers = {
        ["X-One"] = "1", ["X-List"] = { "a", "b" }, ["X-Number"] = 5, ["X-Empty"] = "",
        Host = "example.org", ["User-Agent"] = "own", Accept = "text/plain",
        ["Content-Type"] = "text/csv",
      },
      body = "a,b",
    }
    local headers = request.headers
    assert.same({ "1", "a, b", "5", "" }, {
      headers["x-one"], headers["x-list"], headers["x-number"], headers["x-empty"],
    })
    assert.same({ "example.org", "own", "text/plain", "text/csv" }, {
      headers.host, headers["user-agent"], headers.accept, headers["content-type"],
    })
  end)

  it("requests to the same server over one connection", function()
    for _ = 1, 5 do sent({}) end
    assert.equal(1, #origin.peers)
  end)

  it("the next request over a new connection when the server has ended the old one", function()
    sent({})
    origin.peers[1]:close()
    sent({})
    sent({ body = "x" })
    assert.equal(2, #origin.peers)
  end)

  it("nothing when the script meant nothing that can be sent", function()
    local reply = ask { url = origin.url, methd = "GET" }
    assert.matches('tw.http.request: unknown option "methd"; did you mean "method"?',
      reply.thrown, 1, true)
    assert.matches("none that can be asked for", ask({ url = "http://a:99999/" }).thrown)
    assert.matches("none that can be asked for", ask({ url = "http:///" }).thrown)
    assert.equal(0, #origin.requests)
  end)
end)

describe("tw.http.request returns", function()
  setup(start)
  teardown(function() app:stop() end)
  after_each(stop)

  --- What came of asking a server that answers with these bytes.
  local function received(bytes, options, ends)
    start_raw(bytes, ends)
    options = options or {}
    options.url = origin.url
    local reply = ask(options)
    origin:close()
    return reply
  end

  it("status, headers in any case, and body", function()
    local reply =
      received("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-UPPER: Value \r\nx-lower:v\r\n\r\nhello")
    assert.same({ 200, "hello", "Value", "v", "5" }, {
      reply.status, reply.body, reply.headers["x-upper"], reply.headers["x-lower"],
      reply.headers["content-length"],
    })
  end)

  it("any status as an answer", function()
    for _, status in ipairs({ 201, 299, 304, 400, 401, 404, 418, 500, 503, 599 }) do
      assert.equal(status,
        received(origins.answer(status, nil, status ~= 304 and "why" or nil)).status)
    end
  end)

  it("repeated headers joined", function()
    local reply =
      received("HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nX-a: 3\r\nContent-Length: 0\r\n\r\n")
    assert.equal("1, 2, 3", reply.headers["x-a"])
  end)

  it("a header that goes on in the next line as one", function()
    local reply = received("HTTP/1.1 200 OK\r\nX-A: one\r\n two: 2\r\nContent-Length: 0\r\n\r\n")
    assert.equal("one two: 2", reply.headers["x-a"])
  end)

  it("an empty body where there is none", function()
    assert.same({ 204, "" },
      (function(r) return { r.status, r.body } end)(received("HTTP/1.1 204 No Content\r\n\r\n")))
    local head = received("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n",
      { method = "HEAD", max_bytes = 10 })
    assert.same({ 200, "", "1000000000" },
      { head.status, head.body, head.headers["content-length"] })
    assert.equal("", received("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n").body)
  end)

  it("what came in chunks as one body, and no trailer among the headers", function()
    start_origin(function(peer)
      peer:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Head: 1\r\n\r\n5\r\nhel")
      loop.pass(0.02)
      peer:write("lo\r\n6;ext=1\r\n world\r")
      loop.pass(0.02)
      peer:write("\n0\r\nX-Trailer: 1\r\n\r\n")
    end)
    local reply = ask { url = origin.url }
    assert.same({ 200, "hello world", "1" }, { reply.status, reply.body, reply.headers["x-head"] })
    assert.is_nil(reply.headers["x-trailer"])
  end)

  -- Only where a head begins is there a status line: the first of these made a status of a header,
  -- and lost what stood before it; the others made a head of a trailer.
  it("no header or trailer that looks like a status line for one", function()
    local reply = received("HTTP/1.1 200 OK\r\nX-Before: 1\r\nHTTP/evil: "
      .. "99999999999999999999\r\nHTTP/1.1 303: 1\r\nX-After: 2\r\nContent-Length: 2\r\n\r\nok")
    assert.same({ 200, "ok", "1", "2" },
      { reply.status, reply.body, reply.headers["x-before"], reply.headers["x-after"] })
    for _, body in ipairs { "", "2\r\nok\r\n" } do
      reply = received("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Head: 1\r\n\r\n" .. body
        .. "0\r\nHTTP/1.1 500 X: 1\r\nHTTP/evil: 99999999999999999999\r\nX-Trailer: 1\r\n\r\n")
      assert.same({ 200, "1" }, { reply.status, reply.headers["x-head"] })
      assert.is_nil(reply.headers["x-trailer"])
    end
  end)

  it("the head of what a redirect leads to, whatever its trailer looks like", function()
    start_origin(function(peer, request)
      if request.target == "/there" then
        return peer:answer(200, { ["X-Last"] = "3" }, "there")
      end
      peer:write("HTTP/1.1 302 Found\r\nLocation: /there\r\nX-Early: 1\r\nTransfer-Encoding: "
        .. "chunked\r\n\r\n2\r\nno\r\n0\r\nHTTP/1.1 500 X: 1\r\nX-Trailer: 1\r\n\r\n")
    end)
    local reply = ask { url = origin.url, redirects = 1 }
    assert.same({ 200, "there", "3" }, { reply.status, reply.body, reply.headers["x-last"] })
    assert.is_nil(reply.headers["x-early"])
    assert.is_nil(reply.headers["x-trailer"])
  end)

  it("every byte", function()
    local bytes = {}
    for code = 0, 255 do bytes[#bytes + 1] = string.char(code) end
    bytes = table.concat(bytes)
    assert.equal(bytes, received(origins.answer(200, nil, bytes)).body)
  end)

  it("a body that ends with the connection", function()
    assert.equal("until the end", received("HTTP/1.0 200 OK\r\n\r\nuntil the end", {}, true).body)
  end)

  it("the last answer, not those on the way to it", function()
    local reply = received("HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 103 Early "
      .. "Hints\r\nX-Early: 2\r\n\r\nHTTP/1.1 200 OK\r\nX-Last: 3\r\nContent-Length: 2\r\n\r\nok")
    assert.same({ 200, "ok", "3" }, { reply.status, reply.body, reply.headers["x-last"] })
    assert.is_nil(reply.headers["x-early"])
  end)

  it("1 MiB, and sends as much", function()
    start_origin(function(peer, request)
      peer:answer(request.body == ("0123456789abcdef"):rep(1 << 16) and 200 or 400, nil,
        ("fedcba9876543210"):rep(1 << 16))
    end)
    assert.equal("1048576 true", (app:connect("/large"):ask(origin.url)))
  end)

  it("a body of max_bytes, and no larger one", function()
    local problem = "the answer is larger than 10 bytes"
    assert.equal("0123456789",
      received(origins.answer(200, nil, "0123456789"), { max_bytes = 10 }).body)
    assert.equal(problem,
      received(origins.answer(200, nil, "0123456789a"), { max_bytes = 10 }).problem)
    local chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n"
    assert.equal(problem, received(chunks .. "5\r\n6789a\r\n", { max_bytes = 10 }).problem)
    assert.equal("0123456789",
      received(chunks .. "4\r\n6789\r\n0\r\n\r\n", { max_bytes = 10 }).body)
  end)

  it("no body that says beforehand that it will be too large", function()
    -- no more comes
    local reply = received("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n0", { max_bytes = 10 })
    assert.equal("the answer is larger than 10 bytes", reply.problem)
  end)

  it("no body of more than 8 MiB unless max_bytes allows it", function()
    local body = ("x"):rep(8 * 1024 * 1024 + 1)
    assert.equal("the answer is larger than 8388608 bytes",
      received(origins.answer(200, nil, body)).problem)
    assert.equal(#body, received(origins.answer(200, nil, body), { max_bytes = #body }).size)
  end)

  it("no headers without end", function()
    local flood = ("X-Flood: " .. ("x"):rep(1000) .. "\r\n"):rep(100)
    assert.equal("the answer's headers are larger than 65536 bytes",
      received("HTTP/1.1 200 OK\r\n" .. flood).problem)
  end)
end)

describe("tw.http.request returns nil and a message for failures:", function()
  setup(start)
  teardown(function() app:stop() end)
  after_each(stop)

  it("nothing listens", function()
    start_raw("")
    local url = origin.url
    origin:close()
    assert.equal("connection refused", ask({ url = url }).problem)
  end)

  it("a name that has no address", function()
    -- Longer than a label can be (RFC 1035), so no name server is asked.
    assert.equal("could not resolve host",
      ask({ url = "http://" .. ("a"):rep(64) .. ".invalid/" }).problem)
  end)

  it("no answer in time", function()
    start_raw("")
    assert.equal("timed out after 0.2 s", ask({ url = origin.url, timeout = 0.2 }).problem)
    assert.truthy(loop.wait_until(function() return origin.peers[1].ended end),
      "the connection was kept")
  end)

  it("an answer that does not end in time, though something comes again and again", function()
    start_origin(function(peer)
      peer:write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
      loop.wait_until(function()
        if not peer.ended then peer:write("x") end
        return peer.ended
      end)
    end)
    assert.equal("timed out after 0.3 s", ask({ url = origin.url, timeout = 0.3 }).problem)
  end)

  local endings = {
    { "the connection is closed", "the connection was closed without an answer", function(peer)
      peer:close()
    end },
    { "the connection is reset", "connection reset by peer", function(peer) peer:abort() end },
    { "it is cut short", "the answer ended too early", function(peer)
      peer:write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
      peer:finish()
    end },
    { "it is no HTTP", "the answer is not HTTP", function(peer)
      peer:write("220 mail.example.org ESMTP ready\r\n")
      peer:finish()
    end },
  }
  for _, ending in ipairs(endings) do
    it("an answer that is none: " .. ending[1], function()
      start_origin(ending[3])
      assert.equal(ending[2], ask({ url = origin.url }).problem)
    end)
  end

  local broken = {
    ["a length that is none"] = "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    ["two lengths"] = "HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\nhello",
    ["a chunk that is none"] =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    ["a header with a NUL"] = "HTTP/1.1 200 OK\r\nX-A: \0\r\n\r\n",
    ["bytes"] = ("\xff\0\1\2"):rep(5000),
  }
  for name, bytes in pairs(broken) do
    it("an answer that is broken: " .. name, function()
      start_raw(bytes, true)
      local reply = ask({ url = origin.url })
      assert.is_string(reply.problem, cjson.encode(reply))
      assert.is_true(#reply.problem > 0)
    end)
  end
end)

describe("redirects", function()
  local other

  setup(start)
  teardown(function() app:stop() end)
  before_each(function()
    other = origins.start(function(peer) peer:answer(200, nil, "other") end)
    start_origin(function(peer, request)
      local status, target = request.target:match("^/(%d+)/(.*)$")
      if not status then return peer:answer(200, nil, "arrived") end
      if target == "other" then
        target = other.url .. "/here"
      elseif not target:find(":", 1, true) then
        target = target == "again" and "/302/again" or "../" .. target
      end
      peer:answer(tonumber(status), { Location = target }, "this way")
    end)
  end)
  after_each(function()
    other:close()
    stop()
  end)

  local function go(target, options)
    options = options or {}
    options.url = origin.url .. target
    options.redirects = options.redirects or 5
    return ask(options), origin.requests[#origin.requests]
  end

  it("are answers unless they are to be followed", function()
    local reply = go("/302/x", { redirects = 0 })
    assert.same({ 302, "this way", "../x" }, { reply.status, reply.body, reply.headers.location })
    assert.equal(1, #origin.requests)
  end)

  it("are followed as often as it was said", function()
    local reply, last = go("/302/there")
    assert.same({ 200, "arrived", "/there" }, { reply.status, reply.body, last.target })
    assert.is_nil(reply.headers.location)
    assert.equal("more than 3 redirects", go("/302/again", { redirects = 3 }).problem)
    assert.equal("more than 1 redirect", go("/302/again", { redirects = 1 }).problem)
  end)

  it("keep or change the method as RFC 9110 says", function()
    local cases = {
      { 301, "POST", "GET" }, { 302, "POST", "GET" }, { 303, "POST", "GET" },
      { 307, "POST", "POST" }, { 308, "POST", "POST" }, { 301, "PUT", "PUT" },
      { 302, "PUT", "PUT" }, { 303, "PUT", "GET" }, { 307, "PUT", "PUT" }, { 303, "PATCH", "GET" },
      { 308, "PATCH", "PATCH" },
    }
    for _, case in ipairs(cases) do
      local status, method, expected = table.unpack(case)
      local reply, last = go(("/%d/x"):format(status), { method = method, body = "body" })
      assert.equal("arrived", reply.body)
      assert.same({ status, method, expected, expected ~= "GET" and "body" or "" },
        { status, method, last.method, last.body })
    end
    for _, case in ipairs({
      { 302, "DELETE", "DELETE" }, { 303, "DELETE", "GET" }, { 303, "HEAD", "HEAD" },
    }) do
      local _, last = go(("/%d/x"):format(case[1]), { method = case[2] })
      assert.same(case, { case[1], case[2], last.method })
    end
  end)

  it("take no secret to another server", function()
    local headers = { Authorization = "Bearer secret", Cookie = "id=secret", ["X-Own"] = "1" }
    assert.equal("other", go("/302/other", { headers = headers }).body)
    local seen = other.requests[1].headers
    assert.same({ nil, nil, "1" }, { seen.authorization, seen.cookie, seen["x-own"] })
    go("/302/here", { headers = headers })
    assert.equal("Bearer secret", origin.requests[#origin.requests].headers.authorization)
  end)

  it("lead to http and https only", function()
    for _, target in ipairs({
      "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x",
    }) do
      assert.equal("redirected to a URL that is neither http nor https",
        go("/302/" .. target).problem)
    end
  end)
end)

describe("while requests are under way", function()
  setup(start)
  teardown(function() app:stop() end)
  after_each(function()
    stop()
    stream.close_all()
    ada = app:connect("/")
  end)

  it("others are not delayed: 50 at once", function()
    local waiting = {}
    start_origin(function(peer) waiting[#waiting + 1] = peer end)
    local echo, askers = app:connect("/echo"), {}
    for index = 1, 50 do
      askers[index] = app:connect("/")
      askers[index]:send_text(cjson.encode({ url = origin.url .. "/" .. index, timeout = 60 }))
    end
    origin:wait_request(50)
    for index = 1, 20 do assert.equal("echo " .. index, (echo:ask("echo " .. index))) end
    for index = 50, 1, -1 do
      waiting[index]:answer(200, nil, origin.requests[index].target)
    end
    for index, asker in ipairs(askers) do
      local reply = cjson.decode((asker:receive()))
      assert.equal(("/" .. index):gsub(".", function(c) return ("%02x"):format(c:byte()) end),
        reply.hex)
    end
  end)

  it("the connection's next message waits, in order", function()
    local waiting = {}
    start_origin(function(peer) waiting[#waiting + 1] = peer end)
    ada:send_text(cjson.encode({ url = origin.url .. "/1" }))
    ada:send_text(cjson.encode({ url = origin.url .. "/2" }))
    origin:wait_request(1)
    assert.is_true(ada:is_silent(0.05))
    assert.equal(1, #origin.requests)
    waiting[1]:answer(201)
    assert.equal(201, cjson.decode((ada:receive())).status)
    origin:wait_request(2)
    waiting[2]:answer(202)
    assert.equal(202, cjson.decode((ada:receive())).status)
  end)
end)

describe("tw.http.request can be used", function()
  after_each(stop)

  local PLACES = [[
  local tw = require "tidewire"
  local record = require "record"
  local url = os.getenv("ORIGIN_URL")
  local function ask(place)
    local answer, problem = tw.http.request { url = url .. "/" .. place, timeout = 60 }
    record("answer", place, answer and answer.body or problem, tw.worker)
    return answer and answer.body
  end
  ask("top-level")
  return {
    endpoints = {
      ["/hooks"] = {
        on_start = function(conn) conn.started = ask("on_start") end,
        handle_message = function(conn, message)
          conn:send(conn.started .. " " .. ask("handle_message"))
          conn:after(0.01, function() ask("conn-timer") end)
        end,
        on_close = function() ask("on_close") end,
      },
      ["/coroutines"] = {
        handle_message = function(conn)
          local answer = coroutine.wrap(function() return select(2, pcall(ask, "coroutine")) end)()
          conn:send(answer)
        end,
      },
      ["/validate"] = {
        validate = function() return nil, 403, select(2, pcall(tw.http.request, { url = url })) end,
        handle_message = function() end,
      },
    },
    http = {
      ["/route"] = function() return ask("route") end,
      ["/timer"] = function() tw.after(0.01, function() ask("timer") end) return 204 end,
      ["/spawn"] = function() tw.spawn(ask, "spawn") return 204 end,
      ["/luv"] = function()
        local timer = require("luv").new_timer()
        timer:start(0, 0, function()
          record("luv", select(2, pcall(tw.http.request, { url = url })))
          timer:close()
        end)
        return 204
      end,
    },
    on_load = function() ask("on_load") end,
    on_stop = function() ask("on_stop") end,
  }
  ]]

  it("wherever a hook may wait, and says why not elsewhere", function()
    start_origin(function(peer, request)
      peer:answer(200, nil, "from " .. request.target:sub(2))
    end)
    local environment = { no_proxy = "*", ORIGIN_URL = origin.url }
    local program <close> = server.start({ app = PLACES, environment = environment })
    local loaded = 2 * program.workers -- "top-level" and "on_load" of each
    local bob = program:connect("/hooks")
    assert.equal("from on_start from handle_message", (bob:ask("x")))
    program:wait_event("answer", loaded + 3)
    bob:close(1000)
    program:wait_event("answer", loaded + 4)
    assert.equal("from coroutine", (program:connect("/coroutines"):ask("x")))
    assert.equal("from route", program:http("/route").body)
    program:http("/timer")
    program:http("/spawn")
    program:wait_event("answer", loaded + 8)
    local loads, answered = {}, {}
    for index, event in ipairs(program:events("answer")) do
      assert.equal("from " .. event[2], event[3])
      local list = answered
      if index <= loaded then
        list = loads[event[4]] or {}
        loads[event[4]] = list
      end
      list[#list + 1] = event[2]
    end
    for worker = 0, program.workers - 1 do
      assert.same({ "top-level", "on_load" }, loads[worker])
    end
    assert.equal("on_start handle_message conn-timer on_close coroutine route",
      table.concat(answered, " ", 1, 6))
    local _, _, _, refusal = client.connect(program:url("/validate"))
    assert.matches("validate must answer at once", refusal)
    program:http("/luv")
    assert.matches("nothing here can wait", program:wait_event("luv")[2])
    local count = #origin.requests
    program:signal("sigterm")
    origin:wait_request(count + program.workers)
    program.process:wait_exit()
    assert.equal(count + program.workers, #origin.requests)
    for index = count + 1, #origin.requests do
      assert.equal("/on_stop", origin.requests[index].target)
    end
  end)

  it("to ask the program itself", function()
    local program <close> = server.start({ environment = quiet, app = [[
      local tw = require "tidewire"
      return {
        endpoints = { ["/"] = { handle_message = function(conn, base)
          conn:send(assert(tw.http.request { url = base .. "/outer",
            headers = { ["X-Base"] = base } }).body)
        end } },
        http = {
          ["/outer"] = function(request)
            local inner = assert(tw.http.request {
              url = request.headers["X-Base"] .. "/inner", body = { n = 1 },
            })
            return inner.status .. " " .. inner.headers["X-Inner"] .. " " .. inner.body
          end,
          ["POST /inner"] = function(request)
            return { status = 201, headers = { ["X-Inner"] = "yes" }, body = request.body }
          end,
        },
      }
    ]] })
    local base = ("http://127.0.0.1:%d"):format(program.addresses[1].port)
    assert.equal('201 yes {"n":1}', (program:connect("/"):ask(base)))
  end)

  it("to ask a server written by others", function()
    local folder = process.make_directory()
    process.write_file(folder .. "/page.txt", ("a line of text\n"):rep(5000))
    local python = process.start("python3", {
      args = { "-u", "-m", "http.server", "--bind", "127.0.0.1", "0" }, directory = folder,
      stdout = folder .. "/stdout", stderr = folder .. "/stderr",
    })
    local port = loop.wait_until(function()
      return (process.read_file(folder .. "/stdout") or ""):match("port (%d+)")
    end)
    start()
    local page = ask { url = ("http://127.0.0.1:%s/page.txt"):format(port) }
    local missing = ask { url = ("http://localhost:%s/missing"):format(port) }
    app:stop()
    python:signal("sigterm")
    python:wait_exit()
    process.remove_directory(folder)
    assert.same({ 200, 75000, "text/plain" },
      { page.status, page.size, page.headers["content-type"] })
    assert.equal(404, missing.status)
  end)

  it("through the proxy that the environment names", function()
    start_origin(function(peer) peer:answer(200, nil, "from the proxy") end)
    local program <close> =
      server.start({ app = APP, environment = { no_proxy = "", http_proxy = origin.url } })
    ada = program:connect("/")
    assert.equal("from the proxy", ask({ url = "http://example.invalid/path" }).body)
    assert.equal("http://example.invalid/path", origin.requests[1].target)
  end)
end)

describe("HTTPS", function()
  local folder, python, port

  setup(function()
    folder = process.make_directory()
    local made = process.run("openssl", {
      args = {
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem",
      },
      directory = folder,
    })
    assert(made.code == 0, made.stderr)
    process.write_file(folder .. "/server.py", [[
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"secret")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("port", server.server_address[1], flush=True)
server.serve_forever()
]])
    python = process.start("python3", {
      args = { "server.py" }, directory = folder, stdout = folder .. "/stdout",
      stderr = folder .. "/stderr",
    })
    port = assert(loop.wait_until(function()
      return (process.read_file(folder .. "/stdout") or ""):match("port (%d+)")
    end), "the HTTPS server did not start")
  end)
  teardown(function()
    python:signal("sigterm")
    python:wait_exit()
    process.remove_directory(folder)
  end)
  after_each(stop)

  --- What comes of asking it, with these certificates being trusted.
  local function ask_trusting(file, host)
    local program <close> =
      server.start({ app = APP, environment = { no_proxy = "*", SSL_CERT_FILE = file } })
    ada = program:connect("/")
    return ask { url = ("https://%s:%s/"):format(host, port) }
  end

  it("gets an answer from a server whose certificate is trusted", function()
    local reply = ask_trusting(folder .. "/cert.pem", "localhost")
    assert.same({ 200, "secret" }, { reply.status, reply.body }, reply.problem)
  end)

  it("is believed by the authorities that stand in the file at the last reload", function()
    local file = folder .. "/trusted.pem"
    local other = process.run("openssl", { args = {
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
      "-days", "30", "-subj", "/CN=other", "-keyout", "other.key", "-out", "trusted.pem",
    }, directory = folder })
    assert.equal(0, other.code)
    local program <close> =
      server.start({ app = APP, environment = { no_proxy = "*", SSL_CERT_FILE = file } })
    ada = program:connect("/")
    local request = { url = ("https://localhost:%s/"):format(port) }
    assert.matches("certificate", ask(request).problem)
    process.write_file(file, process.read_file(folder .. "/cert.pem"))
    program:signal("sighup")
    assert.is_truthy(program:wait_for_log("event=reloaded"))
    local reply = ask(request)
    assert.same({ 200, "secret" }, { reply.status, reply.body }, reply.problem)
  end)

  it("gets none where the certificate is another host's", function()
    local reply = ask_trusting(folder .. "/cert.pem", "127.0.0.1")
    assert.matches("^the server's certificate is not accepted: ", reply.problem)
  end)

  it("gets none where the certificate is not trusted", function()
    local problem = ask_trusting("", "localhost").problem
    assert.is_string(problem)
    assert.matches("certificate", problem)
  end)

  it("is not mistaken for HTTP", function()
    start()
    local problem = ask({ url = ("https://127.0.0.1:%d/"):format(app.addresses[1].port) }).problem
    assert.matches("^no TLS connection: ", problem)
    app:stop()
  end)
end)

describe("the end of the program", function()
  after_each(stop)

  it("ends requests that are under way", function()
    start_raw("")
    local program <close> = server.start({
      app = [[
        local tw = require "tidewire"
        local url = os.getenv("ORIGIN_URL")
        local function ask()
          local pending <close> = setmetatable({}, { __close = function() print("went on") end })
          tw.http.request { url = url, timeout = 1000 }
        end
        return {
          endpoints = { ["/"] = { handle_message = ask } },
          on_load = function() tw.spawn(ask) end,
        }
      ]],
      environment = { no_proxy = "*", ORIGIN_URL = origin.url },
      options = { "--drain-seconds", "0.2" },
    })
    program:connect("/"):send_text("x")
    origin:wait_request(2)
    program:stop()
    assert.equal("", program:output() or "")
    for _, peer in ipairs(origin.peers) do
      assert.truthy(loop.wait_until(function() return peer.ended end))
    end
  end)

  it("comes as soon with 1000 under way; one more is refused", function()
    -- it accepts no connection: the kernel does, up to the length of its queue
    local silent = uv.new_tcp()
    silent:bind("127.0.0.1", 0)
    silent:listen(1, function() end)
    local program <close> = server.start({
      app = [[
        local tw = require "tidewire"
        local record = require "record"
        return { handle_message = function(conn, url)
          for _ = 1, 1000 do
            tw.spawn(function()
              record("refused", select(2, tw.http.request { url = url, timeout = 1000 }))
            end)
          end
          tw.sleep(0) -- they run before
          conn:send(select(2, tw.http.request { url = url, timeout = 1000 }))
        end }
      ]],
      environment = quiet,
    })
    local url = ("http://127.0.0.1:%d/"):format(silent:getsockname().port)
    assert.equal("too many HTTP requests are under way", (program:connect("/"):ask(url)))
    assert.same({}, program:events("refused"))
    program:stop()
    silent:close()
  end)

  it("closes connections to others, even if a program that a script started still runs", function()
    start_origin(function(peer) peer:answer(200) end)
    local program = server.start({
      app = [[
        local tw = require "tidewire"
        local url = os.getenv("ORIGIN_URL")
        return { handle_message = function(conn)
          tw.http.request { url = url }
          conn:send(io.popen("echo $$; exec 1>/dev/null 2>/dev/null; exec sleep 120"):read("l"))
        end }
      ]],
      environment = { no_proxy = "*", ORIGIN_URL = origin.url },
    })
    local child = tonumber((program:connect("/"):ask("x")))
    program:kill()
    local ended = loop.wait_until(function() return origin.peers[1].ended end)
    uv.kill(child, "sigkill")
    assert.truthy(ended, "the child keeps the connection open")
  end)
end)
