-- requests_spec.lua -- conn:ask and tw.rpc against the real program: requests in both directions,
-- answers that come too late, twice or not at all, closes, reloads, sessions.

local cjson = require "cjson"
local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

-- Requests of the client with these names; `ask` asks the client from within its hook.
local APP = [[
local record = require "record"
local tw = require "tidewire"
local conns = {}
local RPC = {}
function RPC.add(_, data) return data.a + data.b end
function RPC.nothing() end
function RPC.null() return tw.null end
function RPC.no() return false end
function RPC.refuse(_, data) return nil, data.message, data.kind end
function RPC.odd() return nil, {} end
function RPC.throw() error("on purpose") end
function RPC.unsendable() return { f = print } end
function RPC.loop() while true do end end
function RPC.wait(_, data) tw.sleep(data) return "slept" end
function RPC.ask(conn, data)
  local answer, message, kind = conn:ask(data.value, data.options)
  if conn:is_open() then return { answer = answer, message = message, kind = kind } end
  record("asked", answer, message, kind)
end
function RPC.busy(conn)
  local refused = {}
  for i = 1, 102 do
    tw.spawn(function()
      local answer, message = conn:ask(i, { timeout = 100 })
      if message then refused[#refused + 1] = message end
      record("spawned", answer, message)
    end)
  end
  tw.sleep(0)
  return refused
end
function RPC.misuse(conn, data)
  local codes = {
    function() conn:ask(print) end,
    function() conn:ask(1, { timeout = 0 }) end,
    function() conn:ask(1, { tiemout = 1 }) end,
    function() conn.ask(1) end,
    function() tw.rpc(1) end,
    function() tw.rpc { a = 1 } end,
    function() tw.rpc({}, 1) end,
  }
  local list = {}
  for i, code in ipairs(codes) do list[i] = select(2, pcall(code)):gsub("^.-app.lua:%d+: ", "") end
  return list
end
function RPC.later(conn, data) -- asks when no hook sleeps
  conn:after(0.001, function()
    local answer, message = conn:ask(data)
    conn:send({ type = "later", answer = answer, message = message })
  end)
end
function RPC.closing(conn) tw.spawn(function() tw.sleep(0.01) conn:close(4000) end)
  local answer, message = conn:ask("closing?", { timeout = 100 })
  record("closing", answer, message)
end
function RPC.version() return VERSION end
local handle = tw.rpc(RPC, function(conn, message, kind)
  if message == "fail" then return nil, "failed on purpose" end
  conn:send({ type = "other", got = message, kind = kind })
end)
return {
  defaults = { codec = "json", ping_period = 0, handle_message = handle, handler_timeout = 0.2 },
  endpoints = {
    ["/"] = {
      on_close = function(conn, code)
        local answer, message = conn:ask("closed?")
        record("on_close", code, answer, message)
      end,
    },
    ["/start"] = { on_start = function(conn)
      local name = conn:ask(nil, { type = "name" })
      conn:send({ type = "hello", name = name })
    end },
    ["/strict"] = { on_error = function(_, err) record("on_error", err.message) return true end },
    ["/heartbeat"] = { heartbeat = "json" },
    ["/text"] = { codec = "text", handle_message = function(conn)
      conn:send(select(2, pcall(conn.ask, conn, 1))) end },
    ["/session"] = { resume = { seconds = 60 } },
  },
}
]]

describe("requests", function()
  local app, number

  setup(function() app = server.start { app = (APP:gsub("VERSION", "1")) } end)
  teardown(function() app:stop() end)
  before_each(function() number = 0 end)
  after_each(function() stream.close_all() end)

  local function send(peer, value) peer:send_text(cjson.encode(value)) end
  local function receive(peer)
    local text, how = peer:receive()
    return text and cjson.decode(text) or error("no message: " .. tostring(how), 2)
  end

  local function request(peer, name, data)
    number = number + 1
    send(peer, { type = name, ask = number, data = data })
    return number
  end

  --- Asks the server, which asks nothing in between.
  local function call(peer, name, data)
    local ask = request(peer, name, data)
    local answer = receive(peer)
    assert.equal(ask, answer.answer)
    answer.answer = nil
    return answer
  end

  it("of a client are answered with the results of functions", function()
    local peer = app:connect("/")
    assert.same({ data = 5 }, call(peer, "add", { a = 2, b = 3 }))
    assert.same({}, call(peer, "nothing"))
    assert.same({ data = cjson.null }, call(peer, "null"))
    assert.same({ data = false }, call(peer, "no"))
    assert.same({ data = "slept" }, call(peer, "wait", 0.01))
  end)

  it("of a client are answered where the function fails, and the connection stays", function()
    local peer = app:connect("/")
    local failed = { error = { message = "the request failed", kind = "failed" } }
    assert.same({ error = { message = "unknown request", kind = "unknown" } }, call(peer, "zzz"))
    assert.same({ error = { message = "unknown request", kind = "unknown" } },
      call(peer, "__index"))
    assert.same({ error = { message = "no", kind = "refused" } },
      call(peer, "refuse", { message = "no" }))
    assert.same({ error = { message = "no", kind = "quota" } },
      call(peer, "refuse", { message = "no", kind = "quota" }))
    assert.same(failed, call(peer, "throw"))
    assert.truthy(app:wait_for_log("hook=handle_message .*on purpose"))
    assert.same(failed, call(peer, "unsendable"))
    assert.same(failed, call(peer, "odd"))
    assert.same({ data = 5 }, call(peer, "add", { a = 2, b = 3 }))
  end)

  it("of a client are answered where the function takes too long", function()
    local peer = app:connect("/")
    assert.same({ error = { message = "the request failed", kind = "failed" } },
      call(peer, "loop"))
  end)

  it("give on_error the error, which decides", function()
    local peer = app:connect("/strict")
    assert.same({ error = { message = "the request failed", kind = "failed" } },
      call(peer, "throw"))
    assert.equal(1011, (peer:wait_closed()))
    assert.matches("on purpose", app:wait_event("on_error")[2])
  end)

  it("are messages with a number and a name; others go to the other function", function()
    local peer = app:connect("/")
    for _, other in ipairs { 1, { type = "add" }, { ask = 1 }, { ask = "x", type = "add" },
      { ask = 1.5, type = "add" }, { ask = true, type = "add" }, { answer = 7 } } do
      send(peer, other)
      assert.same({ type = "other", got = other, kind = "text" }, receive(peer))
    end
    send(peer, "fail")
    assert.equal(1011, (peer:wait_closed()))
  end)

  --- The server's next message, a question.
  local function question(peer)
    local asked = receive(peer)
    assert.equal("integer", math.type(math.tointeger(asked.ask)))
    return asked
  end

  --- The answer to the request, which the server has asked for in between.
  local function answer_of(peer, ask)
    local answer = receive(peer)
    assert.equal(ask, answer.answer)
    return answer.data or answer.error
  end

  it("of a hook are answered, although messages wait for it", function()
    local peer = app:connect("/")
    local ask = request(peer, "ask", { value = { deep = { 1 } }, options = { type = "confirm" } })
    local asked = question(peer)
    assert.same({ deep = { 1 } }, asked.data)
    assert.equal("confirm", asked.type)
    local more = {}
    for i = 1, 100 do more[i] = request(peer, "add", { a = i, b = 0 }) end
    send(peer, { answer = asked.ask, data = { yes = true } })
    assert.same({ answer = { yes = true } }, answer_of(peer, ask))
    for i = 1, 100 do assert.equal(i, answer_of(peer, more[i])) end
  end)

  it("have results of each kind", function()
    local peer = app:connect("/")
    for _, case in ipairs {
      { { data = 7 }, { answer = 7 } }, { { data = false }, { answer = false } }, { {}, {} },
      { { data = cjson.null }, { answer = cjson.null } },
      { { error = { message = "no", kind = "refused" } }, { message = "no", kind = "refused" } },
      { { error = "broken" }, { message = "broken", kind = "failed" } },
      { { error = { message = {}, kind = 1 } }, { message = "failed", kind = "failed" } },
    } do
      local ask = request(peer, "ask", {})
      case[1].answer = question(peer).ask
      send(peer, case[1])
      local answer = answer_of(peer, ask)
      assert.same(case[2], answer)
    end
  end)

  it("are answered by their numbers only, and once", function()
    local peer = app:connect("/")
    local ask = request(peer, "ask", { value = 1 })
    local asked = question(peer).ask
    for _, lie in ipairs { asked + 1, asked - 1, -1, 0.5, 1e300 } do
      send(peer, { answer = lie, data = "lie" })
    end
    send(peer, { answer = tostring(asked), data = "lie" }) -- no answer: a message for the hook
    send(peer, { answer = asked, type = "vote" })
    send(peer, { answer = asked, data = "right" })
    send(peer, { answer = asked, data = "late" })
    assert.same({ answer = "right" }, answer_of(peer, ask))
    assert.equal(tostring(asked), receive(peer).got.answer)
    assert.equal("vote", receive(peer).got.type)
    assert.same({ data = 5 }, call(peer, "add", { a = 2, b = 3 }))
    -- also when no hook sleeps
    send(peer, { answer = asked, data = "later still" })
    assert.same({ data = 5 }, call(peer, "add", { a = 2, b = 3 }))
  end)

  it("end after their time", function()
    local peer = app:connect("/")
    local ask = request(peer, "ask", { value = 1, options = { timeout = 0.01 } })
    local asked = question(peer).ask
    assert.same({ message = "timeout" }, answer_of(peer, ask))
    send(peer, { answer = asked, data = "late" })
    assert.same({ data = 5 }, call(peer, "add", { a = 2, b = 3 }))
  end)

  it("may be asked where no hook sleeps, and from on_start", function()
    local peer = app:connect("/")
    assert.same({}, call(peer, "later", "x"))
    local asked = question(peer)
    send(peer, { answer = asked.ask, data = "y" })
    assert.same({ type = "later", answer = "y" }, receive(peer))
    peer = app:connect("/start")
    asked = question(peer)
    assert.equal("name", asked.type)
    assert.is_nil(asked.data)
    send(peer, { answer = asked.ask, data = "ada" })
    assert.same({ type = "hello", name = "ada" }, receive(peer))
  end)

  it("work beside a JSON heartbeat", function()
    local peer = app:connect("/heartbeat")
    local ask = request(peer, "ask", {})
    send(peer, { answer = question(peer).ask, data = 1 })
    assert.same({ answer = 1 }, answer_of(peer, ask))
    send(peer, { type = "ping", pingId = 3 })
    assert.equal("pong", receive(peer).type)
  end)

  it("end with the connection", function()
    local peer = app:connect("/")
    request(peer, "closing")
    question(peer)
    assert.equal(4000, (peer:wait_closed()))
    assert.same({ "closing", nil, "closed" }, { table.unpack(app:wait_event("closing"), 1, 3) })
    local closed = assert(loop.wait_until(function()
      for _, event in ipairs(app:events("on_close")) do
        if event[2] == 4000 then return event end
      end
    end))
    assert.same({ nil, "closed" }, { table.unpack(closed, 3, 4) })
    peer = app:connect("/")
    request(peer, "ask", { value = 1, options = { timeout = 100 } })
    question(peer)
    peer:abort()
    assert.same({ "asked", nil, "closed" }, { table.unpack(app:wait_event("asked"), 1, 3) })
  end)

  it("are a hundred at most", function()
    local peer = app:connect("/")
    local ask = request(peer, "busy")
    local questions = {}
    for i = 1, 100 do questions[i] = question(peer).ask end
    assert.same({ "busy", "busy" }, answer_of(peer, ask))
    for i = 100, 1, -1 do send(peer, { answer = questions[i], data = i }) end
    assert.truthy(loop.wait_until(function() return #app:events("spawned") == 102 end))
    assert.same({ data = 5 }, call(peer, "add", { a = 2, b = 3 }))
  end)

  it("have checked arguments", function()
    local peer = app:connect("/")
    local says = call(peer, "misuse").data
    for i, text in ipairs {
      "conn:ask: value is a function", "conn:ask: timeout: expected", 'conn:ask: unknown option '
        .. '"tiemout"; did you mean "timeout"?', "conn:ask: call it with a colon, conn:ask(…)",
      "tw.rpc: a table of functions is needed, got number", "tw.rpc: a must be a function",
      "tw.rpc: the second argument must be a function",
    } do
      assert.matches(text, says[i], 1, true)
    end
    peer = app:connect("/text")
    peer:send_text("x")
    assert.matches('conn:ask: the endpoint needs codec = "json"', (peer:receive()), 1, true)
  end)

  it("end when the client of a session is back, whose on_resume waits for the hook", function()
    local path = "/session?session=" .. ("s"):rep(32) .. "&received="
    local peer = app:connect(path .. "0")
    assert.is_false(receive(peer).resumed)
    request(peer, "ask", { value = "still there?", options = { timeout = 100 } })
    local asked = question(peer).ask
    request(peer, "add", { a = 1, b = 1 }) -- waits for the hook
    send(peer, { answer = asked - 1, data = "nothing" }) -- is handled before it
    request(peer, "add", { a = 2, b = 2 })
    peer:drop()
    peer = app:connect(path .. "1")
    -- the hook has got one message; what came behind it is sent again
    assert.same({ type = "session", resumed = true, received = 1 }, receive(peer))
    assert.same({ message = "disconnected" }, answer_of(peer, 1))
    number = 1
    request(peer, "add", { a = 1, b = 1 })
    send(peer, { answer = asked - 1, data = "nothing" })
    request(peer, "add", { a = 2, b = 2 })
    assert.equal(2, answer_of(peer, 2))
    assert.equal(4, answer_of(peer, 3))
  end)

  it("outlive a socket where no hook sleeps", function()
    local path = "/session?session=" .. ("t"):rep(32) .. "&received="
    local peer = app:connect(path .. "0")
    assert.is_false(receive(peer).resumed)
    assert.same({}, call(peer, "later", "x"))
    local asked = question(peer).ask
    peer:drop()
    peer = app:connect(path .. "2")
    assert.is_true(receive(peer).resumed)
    send(peer, { answer = asked, data = "y" })
    assert.same({ type = "later", answer = "y" }, receive(peer))
  end)
end)

describe("requests and new code", function()
  it("are answered in the code that has asked", function()
    local app <close> = server.start { app = (APP:gsub("VERSION", "1")) }
    local peer = app:connect("/")
    local function send(value) peer:send_text(cjson.encode(value)) end
    send({ type = "ask", ask = 1, data = { value = "?" } })
    local asked = cjson.decode((peer:receive()))
    reloads.good(app, (APP:gsub("VERSION", "2")))
    send({ type = "version", ask = 2 })
    send({ answer = asked.ask, data = "!" })
    assert.same({ answer = 1, data = { answer = "!" } }, cjson.decode((peer:receive())))
    assert.same({ answer = 2, data = 2 }, cjson.decode((peer:receive())))
    send({ answer = asked.ask, data = "late" })
    send({ type = "version", ask = 3 })
    assert.same({ answer = 3, data = 2 }, cjson.decode((peer:receive())))
  end)
end)
