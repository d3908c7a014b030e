-- client_spec.lua -- the tests' own WebSocket client against another server (Python's
-- `websockets`).
--
-- The server tests rely on this client: it reads valid frames, sends invalid ones unchanged, and
-- reports each end of a connection as what it is.

local client = require "support.client"
local loop = require "support.loop"
local process = require "support.process"
local stream = require "support.stream"

describe("the tests' own client", function()
  local folder, peer, url

  lazy_setup(function()
    folder = process.make_directory()
    peer = process.start("/usr/bin/python3", {
      args = { "tests/interop/echo_server.py" },
      stdout = folder .. "/stdout",
      stderr = folder .. "/stderr",
    })
    local port = loop.wait_until(function()
      return (process.read_file(folder .. "/stdout") or ""):match("^(%d+)\n")
    end)
    url = ("ws://127.0.0.1:%s/"):format(assert(port, process.read_file(folder .. "/stderr")))
  end)

  lazy_teardown(function()
    peer:signal("sigterm")
    assert(peer:wait_exit())
    process.remove_directory(folder)
  end)

  after_each(stream.close_all)

  it("sends and receives messages of every length that the frame writes differently", function()
    local ada = assert(client.connect(url))
    for _, length in ipairs({ 0, 1, 125, 126, 127, 65535, 65536, 1000003 }) do
      local text = ("0123456789"):rep(length // 10 + 1):sub(1, length)
      ada:send_text(text)
      local answer, kind = ada:receive()
      assert.equal("text", kind)
      assert.is_true(answer == text, "a text of " .. length .. " bytes came back changed")
      ada:send_binary(text:reverse())
      answer, kind = ada:receive()
      assert.equal("binary", kind)
      assert.is_true(answer == text:reverse(),
        "a binary message of " .. length .. " bytes came back changed")
    end
  end)

  it("sends fragments with control frames between them", function()
    local ada = assert(client.connect(url))
    ada:send_frame({ opcode = "text", payload = "one ", fin = false })
    ada:send_ping("in between")
    ada:send_frame({ opcode = "continuation", payload = "message" })
    assert.equal("one message", (ada:receive()))
    assert.is_true(ada:wait_pings(1, nil, "pongs"))
    assert.equal("in between", ada.pongs[1].payload)
  end)

  it("answers pings", function()
    local ada = assert(client.connect(url))
    assert.equal("pong came", ada:ask("ping"))
    assert.equal("are you there", ada.pings[1].payload)
  end)

  it("sends headers and understands the chosen subprotocol", function()
    local ada = assert(client.connect(url,
      { headers = { ["X-Test"] = "42" }, subprotocols = { "none", "chat.v1" } }))
    assert.equal("42", ada:ask("headers"))
    assert.equal("chat.v1", ada.subprotocol)
  end)

  it("returns a refusal's status, headers and body", function()
    local ada, status, headers, body =
      client.connect(url, { headers = { ["Sec-WebSocket-Key"] = "short" } })
    assert.is_nil(ada)
    assert.equal(400, status)
    assert.is_string(headers["content-type"])
    assert.is_truthy(body:find("Sec-WebSocket-Key", 1, true))
  end)

  it("reports that nothing listens", function()
    local ada, problem = client.connect("ws://127.0.0.1:1/")
    assert.is_nil(ada)
    assert.equal("ECONNREFUSED", problem)
  end)

  it("returns the server's close code and reason, and the answer to its own close", function()
    local ada = assert(client.connect(url))
    ada:send_text("close")
    local message, kind, code, reason = ada:receive()
    assert.same({ nil, "close", 4001, "asked" }, { message, kind, code, reason })
    assert.equal(4001, (ada:wait_closed()))
    ada = assert(client.connect(url))
    local own_code, own_reason = ada:close(3000, "bye")
    assert.same({ 3000, "bye" }, { own_code, own_reason })
  end)

  it("sends broken frames as they are", function()
    local broken = {
      { 1002, { opcode = 3, payload = "x" } },
      { 1002, { rsv = 4, payload = "x" } },
      { 1002, { masked = false, payload = "x" } },
      { 1002, { opcode = "ping", payload = ("x"):rep(126) } },
      { 1007, { payload = "\xff" } },
      { 1009, { length = 1 << 40 } },
    }
    for index, case in ipairs(broken) do
      local ada = assert(client.connect(url))
      ada:send_frame(case[2])
      assert.equal(case[1], (ada:wait_closed()), "case " .. index)
    end
  end)

  it("says that nothing came", function()
    local ada = assert(client.connect(url))
    assert.is_true(ada:is_silent(0.05))
    assert.same({ nil, "open" }, { ada:wait_closed(0.05) })
  end)
end)
