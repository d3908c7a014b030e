-- handshake_spec.lua -- the opening handshake (RFC 6455, section 4.2) and everything that looks
-- like one and is not: each refusal has a status and a body, never a 101 and never silence.

local client = require "support.client"
local frames = require "support.frames"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
return {
  endpoints = {
    ["/ws"] = {
      on_start = function(conn) record("start", conn.remote_address) end,
      handle_message = function(conn, message) conn:send(message) end,
    },
  },
  http = { ["GET /page"] = function() return "a page" end },
}
]]

describe("the handshake", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  -- Try to connect; the answer must be this refusal, with a body, and no hook may have been called.
  local function assert_refused(expected, options, path)
    local started = #app:events("start")
    local none, status, headers, body = client.connect(app:url(path or "/ws"), options)
    assert.is_nil(none, "was let in")
    assert.equal(expected, status)
    assert.is_true(#body > 0, "no body")
    assert.is_truthy(headers["content-type"], "no content type")
    assert.equal(started, #app:events("start"))
    return headers, body
  end

  local function with(headers) return { headers = headers } end

  it("is answered with 101 and the right Sec-WebSocket-Accept", function()
    local ada = app:connect("/ws")
    assert.equal(101, ada.response.status)
    assert.equal("1.1", ada.response.version)
    assert.equal("hello", (ada:ask("hello")))
  end)

  it("may be written in other ways that mean the same", function()
    for _, headers in ipairs({
      { Upgrade = "WebSocket" }, { Connection = "keep-alive, Upgrade" }, { Connection = "upgrade" },
      { ["sec-websocket-version"] = "13" }, { Host = "example.com:8080" },
      { ["X-Other"] = ("x"):rep(500) },
    }) do
      assert.equal("hi", (app:connect("/ws", { headers = headers }):ask("hi")))
    end
    assert.equal("hi", (app:connect("/ws?token=a%20b&c"):ask("hi")))
  end)

  it("is missing on a plain GET: 426 with Upgrade: websocket", function()
    local response = app:http("/ws")
    assert.equal(426, response.status)
    assert.equal("websocket", response.headers.upgrade:lower())
    assert.is_truthy((response.headers.connection or ""):lower():find("upgrade", 1, true))
    assert.is_true(#response.body > 0)
  end)

  it("on a path that is none is a 404", function()
    assert_refused(404, nil, "/nowhere")
    assert_refused(404, nil, "/ws/more")
    assert_refused(404, nil, "/w")
  end)

  it("with another method is a 405 that says which is right", function()
    for _, method in ipairs({ "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "get" }) do
      local headers
      if method == "HEAD" then
        local response = app:raw((client.handshake("/ws", { method = "HEAD" })), "HEAD")
        assert.equal(405, response.status)
        headers = response.headers
      else
        headers = assert_refused(405, { method = method })
      end
      assert.is_truthy((headers.allow or ""):find("GET", 1, true), method)
    end
  end)

  it("in HTTP/1.0 is a 400, in other versions a 505", function()
    assert_refused(400, { version = "1.0" })
    assert_refused(505, { version = "2.0" })
  end)

  it("with another or no Sec-WebSocket-Version is a 426 that names 13", function()
    for _, version in ipairs({ "8", "7", "0", "14", "131", "x", "", false }) do
      local headers = assert_refused(426, with({ ["Sec-WebSocket-Version"] = version }))
      assert.equal("13", headers["sec-websocket-version"], tostring(version))
    end
  end)

  it("with a key that is none is a 400", function()
    for _, key in ipairs({
      false, "", "x", "AQIDBAUGBwgJCgsMDQ4PE===", "dGhlIHNhbXBsZSBub25jZQ",
      "dGhlIHNhbXBsZSBub25jZ!==", "dGhlIHNhbXBsZSBub25jZSBsb25nZXI=",
    }) do
      assert_refused(400, with({ ["Sec-WebSocket-Key"] = key }))
    end
    local twice = client.handshake("/ws"):gsub("\r\n\r\n$",
      "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    assert.equal(400, assert(app:raw(twice)).status)
  end)

  it("without Host, Upgrade or Connection is a 400", function()
    assert_refused(400, with({ Host = false }))
    assert_refused(400, with({ Connection = false }))
    assert_refused(400, with({ Connection = "keep-alive" }))
    assert_refused(400, with({ Connection = "upgrades" }))
    local _, status = client.connect(app:url("/ws"), with({ Upgrade = false }))
    assert.is_true(status == 400 or status == 426, "answered with " .. tostring(status))
  end)

  it("to something else than a WebSocket is never a 101", function()
    for _, upgrade in ipairs({ "h2c", "foo", "TLS/1.0", "websockets", "HTTP/2.0" }) do
      local headers = {
        Upgrade = upgrade, ["Sec-WebSocket-Key"] = false, ["Sec-WebSocket-Version"] = false,
      }
      local none, status = client.connect(app:url("/ws"), { headers = headers })
      assert.is_nil(none, upgrade)
      assert.is_true(status == 400 or status == 426,
        upgrade .. " was answered with " .. tostring(status))
    end
    local h2c = { Upgrade = "h2c", ["HTTP2-Settings"] = "AAMAAABkAAQAAP__" }
    local response = app:http({ path = "/page", headers = h2c })
    assert.equal(200, response.status)
  end)

  it("to HTTP/2 behind a plain request on the same connection harms nothing", function()
    local first = "GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
    local peer = assert(stream.connect(app.addresses[1]))
    peer:write(first .. "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: "
      .. "Upgrade\r\n\r\n" .. first)
    peer:wait_end(0.5)
    assert.is_truthy(peer:peek():find("^HTTP/1.1 200"))
    assert.is_nil(peer:peek():find("HTTP/1.1 101", 1, true))
    peer:close()
    assert.equal("alive", (app:connect("/ws"):ask("alive")))
  end)

  it("with a body, two lengths or chunks is refused and the connection ended", function()
    local start = client.handshake("/ws"):gsub("\r\n$", "")
    for _, more in ipairs({
      "Content-Length: 5\r\n\r\nhello",
      "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /page HTTP/1.1\r\nHost: "
        .. "x\r\n\r\n",
      "Transfer-Encoding: xchunked\r\n\r\n",
    }) do
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write(start .. more)
      assert.is_truthy(peer:wait_end(), more)
      local answer = peer:peek()
      assert.is_truthy(answer:find("^HTTP/1.1 [45]%d%d"), answer)
      assert.equal(1, select(2, answer:gsub("HTTP/1.1 ", "")),
        "a second request was read: " .. answer)
    end
  end)

  it("written so that proxies could read it in two ways is a 400", function()
    local good = client.handshake("/ws")
    local changes = {
      { "Host: localhost\r\n", "Host : localhost\r\n" },
      { "Host: localhost\r\n", "Host: localhost\n" },
      { "Host: localhost\r\n", "Host: local\r\n host\r\n" },
      { "Host: localhost\r\n", "Host: localhost\r\nHost: elsewhere\r\n" },
      { "Host: localhost\r\n", "Host: localhost\r\nX-Null: a\0b\r\n" },
      { "Host: localhost\r\n", "Host: localhost\r\nno colon here\r\n" },
      { "Host: localhost\r\n", "Host: localhost\r\n: no name\r\n" },
      { "GET /ws HTTP", "GET  /ws HTTP" },
      { "GET /ws HTTP", "GET ws HTTP" },
      { "GET /ws HTTP/1.1", "GET /ws" },
      { "GET /ws HTTP/1.1", "GET /w s HTTP/1.1" },
    }
    for _, change in ipairs(changes) do
      local from, to = good:find(change[1], 1, true)
      local response = assert(app:raw(good:sub(1, from - 1) .. change[2] .. good:sub(to + 1)))
      assert.equal(400, response.status, ("%q"):format(change[2]))
      assert.is_true(#response.body > 0)
    end
  end)

  it("of another protocol altogether is refused or ended at once", function()
    for _, bytes in ipairs({
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" .. ("\x00"):rep(500),
      "SSH-2.0-OpenSSH_9.2\r\n", "\0\0\0\0\0\0\0\0", ("\xff"):rep(300),
      "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n\r\n", "\r\n\r\n\r\n\r\nx\r\n\r\n",
    }) do
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write(bytes)
      assert.is_truthy(peer:wait_end(3), ("%q"):format(bytes:sub(1, 40)))
      assert.is_nil(peer:peek():find("HTTP/1.1 [123]"))
    end
    assert.equal("alive", (app:connect("/ws"):ask("alive")))
  end)

  it("may arrive byte by byte, or with the first frames behind it", function()
    local peer = assert(stream.connect(app.addresses[1]))
    local request = client.handshake("/ws")
    for index = 1, #request do
      peer:write(request:sub(index, index))
      peer:flush()
    end
    assert.is_truthy(loop.wait_until(function() return peer:peek():find("^HTTP/1.1 101") end))
    local ada = app:connect("/ws", { trailing = frames.encode({ payload = "with it" }) })
    assert.equal("with it", (ada:receive()))
  end)

  it("that offers compression works without it", function()
    for _, offer in ipairs({
      "permessage-deflate", "permessage-deflate; client_max_window_bits", "x-webkit-deflate-frame",
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover, foo; "
        .. "bar=\"baz\"",
    }) do
      local ada = app:connect("/ws", with({ ["Sec-WebSocket-Extensions"] = offer }))
      assert.equal("plain", (ada:ask("plain")))
    end
  end)

  it("trusts no header about the client's address", function()
    for _, headers in ipairs({
      { ["X-Forwarded-For"] = "8.8.8.8" }, { Forwarded = "for=8.8.8.8" },
      { ["X-Real-IP"] = "8.8.8.8" },
    }) do
      local started = #app:events("start")
      app:connect("/ws", { headers = headers })
      assert.equal("127.0.0.1", app:wait_event("start", started + 1)[2])
    end
  end)
end)
