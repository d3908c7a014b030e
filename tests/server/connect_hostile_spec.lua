-- connect_hostile_spec.lua -- tw.connect to a server that breaks one rule at a time: each has its
-- own outcome, for the script and for the server. connect_fuzz_spec.lua breaks many at random.

local cjson = require "cjson"
local loop = require "support.loop"
local server = require "support.server"
local upstream = require "support.upstream"

-- "/" connects to the URL of a message, sends what came of it, and each message until the close.
local APP = [[
local tw = require "tidewire"
return {
  endpoints = { ["/"] = { codec = "json", handle_message = function(conn, task)
    local client, problem = tw.connect(task.url, task.options)
    if not client then return conn:send { problem = problem } end
    local messages = tw.array()
    for message in client:messages() do messages[#messages + 1] = message end
    local _, why, code, reason = client:receive()
    conn:send { messages = messages, why = why, code = code, reason = reason }
  end } },
}
]]

local app, ada, other

--- Connects to a server that answers the handshake so, and returns what came of it, and its peer,
--- which stays until the next call.
local function connect(respond, options)
  if other then other:close() end
  other = upstream.start(respond)
  local task = cjson.encode({ url = other.url, options = options or {} })
  local result = cjson.decode((ada:ask(task, 60)))
  return result, other.peers[1]
end

describe("a server's response", function()
  setup(function()
    app = server.start({ app = APP })
    ada = app:connect("/")
  end)
  teardown(function()
    app:stop()
    other:close()
  end)

  local function response(text)
    return function(peer)
      peer:write(text)
      peer:finish()
    end
  end

  local function accepted(headers, change)
    return function(peer, request)
      local text = upstream.acceptance(request, headers)
      peer:write(change and change(text) or text)
    end
  end

  for name, case in pairs({
    ["that is garbage"] = { response("\0\1\2garbage\r\n\r\n"),
      "^the server's answer is invalid: it does not speak HTTP" },
    ["that is no line"] = { response("HTTP/1.1\r\n\r\n"),
      "^the server's answer is invalid: its status" },
    ["that is missing"] = { response(""), "^the server ended the connection without an answer$" },
    ["that is cut"] = { response("HTTP/1.1 101 Swi"),
      "^the server ended the connection without an answer$" },
    ["that is a refusal"] = { response("HTTP/1.1 403 Forbidden\r\n\r\n"),
      "^the server answered 403$" },
    ["that asks for a name"] = {
      response("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n\r\n"),
      "^the server answered 401$" },
    ["of a proxy"] = { response("HTTP/1.1 407 No\r\n\r\n"), "^the server answered 407$" },
    ["that redirects"] = { response("HTTP/1.1 302 Found\r\nLocation: ws://other/\r\n\r\n"),
      "^the server answered 302 and redirects to ws://other/$" },
    ["that goes on"] = { response("HTTP/1.1 100 Continue\r\n\r\n"), "^the server answered 100$" },
    ["with another key's proof"] = {
      accepted("", function(text) return (text:gsub("Accept: ....", "Accept: AAAA")) end),
      "its Sec%-WebSocket%-Accept does not belong to this handshake$" },
    ["without Upgrade"] = {
      accepted("", function(text) return (text:gsub("Upgrade: websocket\r\n", "")) end),
      "it does not upgrade to a WebSocket$" },
    ["with an extension"] = { accepted("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
      "it uses an extension that was not offered$" },
    ["with a subprotocol"] = { accepted("Sec-WebSocket-Protocol: chat\r\n"),
      "it has chosen a subprotocol that was not offered$" },
    ["with endless headers"] = { accepted(("X-Y: z\r\n"):rep(10000)),
      "^the head of the server's answer is too large$" },
    ["with one giant header"] = { accepted("X: " .. ("y"):rep(100000) .. "\r\n"),
      "^the head of the server's answer is too large$" },
  }) do
    it(name .. " is refused", function()
      assert.matches(case[2], connect(case[1]).problem)
    end)
  end

  it("may come in single bytes, and with frames", function()
    local uv = require "luv"
    local result = connect(function(peer, request)
      local text = upstream.acceptance(request) .. upstream.frame("text", "first")
        .. upstream.close_frame(1000)
      local at, timer = 1, uv.new_timer()
      timer:start(0, 1, function()
        peer:write(text:sub(at, at))
        at = at + 1
        if at > #text then timer:close() end
      end)
    end)
    assert.same({ { "first" }, 1000 }, { result.messages, result.code })
  end)
end)

describe("a server's frame", function()
  setup(function()
    app = server.start({ app = APP })
    ada = app:connect("/")
  end)
  teardown(function()
    app:stop()
    other:close()
  end)

  local frame = upstream.frame

  for name, case in pairs({
    ["that is masked"] = { frame("text", "x", { masked = true }), 1002 },
    ["with a reserved bit"] = { frame("text", "x", { rsv = 4 }), 1002 },
    ["with an unknown opcode"] = { frame(3, "x"), 1002 },
    ["with an unknown opcode of control"] = { frame(11, "x"), 1002 },
    ["that continues nothing"] = { frame("continuation", "x"), 1002 },
    ["that begins inside of a message"] = {
      frame("text", "x", { fin = false }) .. frame("text", "y"), 1002 },
    ["that is a long ping"] = { frame("ping", ("x"):rep(126)), 1002 },
    ["that is a part of a ping"] = { frame("ping", "x", { fin = false }), 1002 },
    ["of a negative length"] = { "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 1002 },
    ["whose length is written long"] = { frame("text", "x", { length_bytes = 8 }), 1002 },
    ["that is too big"] = { frame("binary", ("x"):rep(1001)), 1009 },
    ["that claims to be too big"] = { frame("binary", "x", { length = 1 << 40 }), 1009 },
    ["that makes a message too big"] = {
      frame("binary", ("x"):rep(1000), { fin = false }) .. frame("continuation", "x"), 1009 },
    ["that is empty, again and again"] = {
      frame("text", "", { fin = false }) .. frame("continuation", "", { fin = false }):rep(2000),
      1008 },
    ["that is not UTF-8"] = { frame("text", "\xff"), 1007 },
    ["that ends in the middle of a character"] = { frame("text", "a\xf0\x9f"), 1007 },
    ["that closes with one byte"] = { frame("close", "\3"), 1002 },
    ["that closes with 1005"] = { upstream.close_frame(1005), 1002 },
    ["that closes with 5000"] = { upstream.close_frame(5000), 1002 },
    ["that closes with bytes as reason"] = { upstream.close_frame(1000, "\xff"), 1002 },
  }) do
    it(name .. " closes with " .. case[2], function()
      local result, peer = connect(function(peer, request)
        peer:write(upstream.acceptance(request) .. frame("text", "before") .. case[1]
          .. frame("text", "after"))
      end, { max_message_size = 1000 })
      assert.same({ { "before" }, "closed", case[2] }, { result.messages, result.why, result.code })
      local close = upstream.wait_frame(peer, "close")
      assert.equal(case[2], string.unpack(">I2", close.payload))
    end)
  end

  for _, code in ipairs { 1000, 1001, 1007, 1008, 1011, 1012, 1013, 1014, 3000, 4999 } do
    it("that closes with " .. code .. " is taken and answered", function()
      local result, peer = connect(function(peer, request)
        peer:write(upstream.acceptance(request) .. upstream.close_frame(code, "because"))
      end)
      assert.same({ code, "because" }, { result.code, result.reason })
      assert.equal(code, string.unpack(">I2", upstream.wait_frame(peer, "close").payload))
    end)
  end

  it("that closes without a code is 1005", function()
    local result, peer = connect(function(peer, request)
      peer:write(upstream.acceptance(request) .. upstream.close_frame())
    end)
    assert.equal(1005, result.code)
    assert.equal("", upstream.wait_frame(peer, "close").payload)
  end)

  it("may be a part of a message, with pings in between", function()
    local result, peer = connect(function(peer, request)
      peer:write(upstream.acceptance(request) .. frame("text", "a\xc3", { fin = false })
        .. frame("ping", "p") .. frame("continuation", "\xa4b", { fin = false })
        .. frame("continuation", "") .. upstream.close_frame(1000))
    end)
    assert.same({ "aäb" }, result.messages)
    assert.equal("p", upstream.wait_frame(peer, "pong").payload)
  end)

  it("that closes is answered by the last frame, also behind many pings", function()
    -- a server that leaves the end of TCP to the client, and so sees all that the client sends
    local patient <close> = upstream.start(function(peer, request)
      peer:write(upstream.acceptance(request) .. frame("ping", ("p"):rep(125)):rep(60)
        .. upstream.close_frame(1000))
    end, function() end)
    ada:ask(cjson.encode({ url = patient.url, options = {} }), 60)
    local peer = patient.peers[1]
    assert.is_truthy(loop.wait_until(function() return peer.ended end))
    assert.equal("pong", peer.frames[1].name)
    assert.equal("close", peer.frames[#peer.frames].name)
  end)

  it("that cannot be decoded closes with 1007", function()
    local result, peer = connect(function(peer, request)
      peer:write(upstream.acceptance(request) .. frame("text", "[1]") .. frame("text", "{")
        .. frame("text", "[2]"))
    end, { codec = "json" })
    assert.same({ { { 1 } }, 1007 }, { result.messages, result.code })
    assert.matches("^message cannot be decoded: expected a key .* at byte 2", result.reason)
    assert.equal(string.pack(">I2", 1007) .. "message cannot be decoded",
      upstream.wait_frame(peer, "close").payload)
  end)

  it("behind which the connection is lost is a message before 1006", function()
    for _, lose in ipairs { "finish", "abort" } do
      local result = connect(function(peer, request)
        peer:write(upstream.acceptance(request) .. frame("text", "last"))
        if lose == "finish" then peer:finish() else
          require("luv").new_timer():start(20, 0, function() peer:abort() end)
        end
      end)
      assert.same({ { "last" }, 1006 }, { result.messages, result.code }, lose)
    end
  end)
end)
