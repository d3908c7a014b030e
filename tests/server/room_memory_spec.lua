-- room_memory_spec.lua -- rooms with a memory, against the real program: what a connection gets
-- that joins later, offsets and epochs, limits, keys, codecs. room_memory_load_spec.lua has many
-- senders at once, room_memory_reload_spec.lua changed options.
--
-- With several workers each client is on another worker than the one before.

local chunks = require "support.chunks"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local chunks = require "chunks"
local here = require "here"
local tw = require "tidewire"

local function show(...)
  local shown = {}
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    shown[i] = type(value) == "table" and tw.json.encode(value) or tostring(value)
  end
  return table.concat(shown, " ")
end

local function words(list)
  local all = {}
  for i, entry in ipairs(list) do all[i] = entry.payload end
  return table.concat(all, ",")
end

local function run(conn, code)
  return chunks.run(code, { conn = conn, tw = tw, show = show, words = words })
end

local own = {
  decode = function(payload) return payload end,
  encode = function(value)
    assert(value ~= "bad" and type(value) ~= "function", "the codec refuses this")
    return "own:" .. tostring(value), "binary"
  end,
}

return {
  rooms = {
    ["chat:*"] = { history = 5 },
    ["many:*"] = { history = 1000000000 },
    ["small:*"] = { history = 100, history_bytes = 1000 },
    ["short:*"] = { history = 100, history_seconds = 0.5 },
    ["price:*"] = { retain = true, retain_keys = 3, retain_bytes = 1000 },
    ["both:*"] = { history = 3, retain = true },
    ["chat:private:*"] = false,
    ["chat:long:*"] = { history = 7 },
  },
  limits = { room_memory = "4M" },
  defaults = { validate = here.validate, ping_period = 0 },
  endpoints = {
    ["/"] = {
      handle_message = function(conn, code) conn:send(run(conn, code)) end,
      on_error = function(conn, err) conn:send("error: " .. err.message) return false end,
    },
    ["/json"] = { codec = "json" },
    ["/binary"] = { codec = "binary" },
    ["/own"] = { codec = own },
    ["/packed"] = {
      compression = { threshold = 1000 },
      handle_message = function(conn, code) conn:send(run(conn, code)) end,
    },
    ["/tight"] = {
      max_backlog = 2000,
      handle_message = function(conn, code) conn:send(run(conn, code)) end,
    },
    ["/joins"] = {
      codec = "json",
      on_start = function(conn) conn:join(conn.query.room, nil, { history = 100 }) end,
    },
    ["/joins/binary"] = {
      codec = "binary",
      on_start = function(conn) conn:join(conn.query.room, nil, { history = 100 }) end,
    },
    ["/joins/own"] = {
      codec = own,
      on_start = function(conn) conn:join(conn.query.room, nil, { history = 100 }) end,
    },
  },
  http = { ["POST /run"] = here.route(function(request) return run(nil, request.body) end) },
}
]]

local app, next_worker
lazy_setup(function() app = server.start({ app = APP }) end)
lazy_teardown(function() app:stop() end)
before_each(function() next_worker = 0 end)
after_each(stream.close_all)

local function worker()
  next_worker = (next_worker + 1) % app.workers
  return next_worker
end

local function connect(path, options) return app:connect_on(worker(), path or "/", options) end
local function run(code, ...)
  local results = chunks.ask_on(app, worker(), code:format(...))
  return results
end
local ask, check_got_only = chunks.ask, chunks.check_got_only

--- Rooms of this test only.
local number = 0
local function room(kind)
  number = number + 1
  return ("%s:%d"):format(kind, number)
end

local function broadcast(name, ...)
  local offset
  for _, word in ipairs { ... } do
    offset = run("return (select(2, tw.room(%q):broadcast(%q)))", name, word)
  end
  return offset
end

local function history(name, options)
  local list = run("return words(tw.room(%q):history(%s))", name, options or "")
  return list
end

--- Joins, and gives what came before the answer with the answer itself, in one text.
local function join(peer, name, options)
  peer:send_text(("return show(conn:join(%q, nil, %s))"):format(name, options))
  local got = {}
  repeat
    got[#got + 1] = peer:receive()
  until got[#got]:find("^= ") or got[#got]:find("^error")
  return table.concat(got, " ", 1, #got - 1), got[#got]
end

local function epoch_of(name)
  local epoch = run("return (tw.room(%q):offset())", name)
  return epoch
end

describe("the history of a room", function()
  it("comes first, in order, and then what is said later", function()
    local name = room "chat"
    assert.equal("3", broadcast(name, "1", "2", "3"))
    local peer = connect()
    local got, answer = join(peer, name, "{ history = 2 }")
    assert.equal("2 3", got)
    assert.matches('"offset":3', answer)
    assert.matches('"replayed":2', answer)
    assert.matches(('"epoch":"%s"'):format(epoch_of(name)), answer)
    broadcast(name, "4")
    check_got_only(peer, "4")
  end)

  it("has the last messages, which nobody need have received", function()
    local name = room "chat"
    broadcast(name, "1", "2", "3", "4", "5", "6", "7")
    assert.equal("3,4,5,6,7", history(name))
    assert.equal("6,7", history(name, "{ limit = 2 }"))
    assert.equal("4,5", history(name, "{ after = 3, limit = 2 }"))
    assert.equal("", history(name, "{ after = 7 }"))
    assert.equal("", history(name, "{ limit = 0 }"))
    assert.equal("", history(name, "{ after = -1 }"))
    assert.equal("7", run("return (select(2, tw.room(%q):offset()))", name))
  end)

  it("says of each message its offset, time and kind", function()
    local name = room "chat"
    local before = os.time()
    broadcast(name, "hello")
    local entry = run([[local e = tw.room(%q):history()[1]
      return e.offset, e.payload, e.kind, e.key == nil, e.time >= %d and e.time < %d + 60]],
      name, before, before)
    assert.equal("1 hello text true true", entry)
  end)

  it("is that of the most specific pattern", function()
    local private, long = room "chat:private", room "chat:long"
    assert.equal("nil", broadcast(private, "1"))
    broadcast(long, "1", "2", "3", "4", "5", "6", "7", "8")
    assert.equal("2,3,4,5,6,7,8", history(long))
  end)

  it("may have fewer messages than there are", function()
    local name = room "chat"
    local peer = connect()
    local got, answer = join(peer, name, "{ history = 50 }")
    assert.equal("", got)
    assert.matches('"offset":0', answer)
    broadcast(name, "1")
    check_got_only(peer, "1")
    assert.equal("1", (join(connect(), name, "{ history = 50 }")))
  end)

  it("counts bytes", function()
    local name = room "small"
    -- of its encodings "own:…" is the largest
    for i = 1, 20 do broadcast(name, ("%03d"):format(i) .. ("x"):rep(93)) end
    local list = history(name)
    assert.equal(10 * 96 + 9, #list)
    assert.matches("^011", list)
    broadcast(name, ("x"):rep(997)) -- is larger than all of it
    assert.equal("", history(name))
    broadcast(name, "after")
    assert.equal("after", history(name))
  end)

  it("is forgotten in time", function()
    local name = room "short"
    broadcast(name, "1")
    assert.equal("1", history(name))
    local epoch = epoch_of(name)
    assert.equal("", loop.ask_until(function() return history(name) end, ""))
    loop.wait_until(function()
      return run("return tw.room(%q):offset()", name):find(" 0$") ~= nil
    end)
    assert.not_equal(epoch, epoch_of(name))
  end)

  it("may be cleared", function()
    local name = room "chat"
    broadcast(name, "1", "2")
    local epoch = epoch_of(name)
    run("tw.room(%q):clear_history()", name)
    assert.equal("", history(name))
    assert.not_equal(epoch, epoch_of(name))
    assert.equal("1", broadcast(name, "3"))
  end)

  it("is not what rooms without a memory have", function()
    assert.equal("nil", broadcast("other", "1"))
    assert.equal("", history("other"))
    assert.equal("nil", run("return tw.room('other'):offset()"))
    local got, answer = join(connect(), "other", "{ history = 5 }")
    assert.equal("", got)
    assert.matches('"offset":0', answer)
    assert.not_matches("epoch", answer)
  end)

  it("leaves out the connection that the broadcast left out", function()
    local name = room "chat"
    local peer = connect()
    ask(peer, ("return tw.room(%q):broadcast('mine', conn)"):format(name))
    broadcast(name, "other")
    assert.equal("other", (join(peer, name, "{ history = 5 }")))
    assert.equal("mine other", (join(connect(), name, "{ history = 5 }")))
  end)

  it("comes once: a member that joins again only has other info", function()
    local name = room "chat"
    broadcast(name, "1")
    local peer = connect()
    assert.equal("1", (join(peer, name, "{ history = 5 }")))
    local got, answer = join(peer, name, "{ history = 5 }")
    assert.equal("", got)
    assert.matches('"replayed":0', answer)
    broadcast(name, "2")
    check_got_only(peer, "2")
  end)
end)

describe("a connection that comes back", function()
  it("gets what was said behind its offset", function()
    local name = room "chat"
    broadcast(name, "1", "2", "3")
    local got, answer = join(connect(), name, "{ after = 1 }")
    assert.equal("2 3", got)
    assert.matches('"recovered":true', answer)
    local epoch = epoch_of(name)
    for after, expected in pairs { ["0"] = "1 2 3", ["'2'"] = "3", ["3.0"] = "3" } do
      got, answer = join(connect(), name, ("{ after = %s, epoch = %q }"):format(after, epoch))
      assert.equal(after == "3.0" and "" or expected, got)
      assert.matches('"recovered":true', answer)
    end
  end)

  it("hears that messages are missing, and gets what is left", function()
    local name = room "chat"
    broadcast(name, "1", "2", "3", "4", "5", "6", "7")
    local got, answer = join(connect(), name, "{ after = 1 }")
    assert.equal("3 4 5 6 7", got)
    assert.matches('"recovered":false', answer)
    assert.matches('"recovered":true', (select(2, join(connect(), name, "{ after = 2 }"))))
    got, answer = join(connect(), name, "{ after = 3, history = 2 }")
    assert.equal("6 7", got)
    assert.matches('"recovered":false', answer)
    assert.matches('"recovered":true',
      (select(2, join(connect(), name, "{ after = 3, history = 4 }"))))
  end)

  it("gets all where its offset or its epoch cannot be", function()
    local name = room "chat"
    broadcast(name, "1", "2")
    for _, options in ipairs {
      "after = 3", "after = -1", "after = 1.5", "after = 0/0", "after = 1e300", "after = 'x'",
      "after = math.mininteger", "after = math.maxinteger", "after = 1, epoch = 'x'",
      "after = 1, epoch = '0000000000000000'", "after = 1, epoch = 12",
    } do
      local got, answer = join(connect(), name, "{ " .. options .. " }")
      assert.equal("1 2", got, options)
      assert.matches('"recovered":false', answer, options)
    end
  end)

  it("has missed nothing where nothing was said", function()
    local name = room "chat"
    local _, answer = join(connect(), name, "{ history = 1 }")
    local epoch = answer:match('"epoch":"(%x+)"')
    _, answer = join(connect(), name, ("{ after = 0, epoch = %q }"):format(epoch))
    assert.matches('"recovered":true', answer)
    broadcast(name, "1")
    local got
    got, answer = join(connect(), name, ("{ after = 0, epoch = %q }"):format(epoch))
    assert.equal("1", got)
    assert.matches('"recovered":true', answer)
  end)
end)

describe("the last message of each key", function()
  local function set(name, key, word)
    run("tw.room(%q):broadcast(%q, { key = %q })", name, word, key)
  end

  it("is replayed, in the order of the messages", function()
    local name = room "price"
    set(name, "a", "a1")
    set(name, "b", "b1")
    set(name, "a", "a2")
    local peer = connect()
    assert.equal("b1 a2", (join(peer, name, "{ retained = true }")))
    set(name, "b", "b2")
    check_got_only(peer, "b2")
    assert.equal("a2,b2", history(name, "{ retained = true }"))
    assert.equal("", history(name))
    assert.equal("a", run("return tw.room(%q):history({ retained = true })[1].key", name))
  end)

  it("is the last message of all without a key", function()
    local name = room "price"
    broadcast(name, "1", "2")
    assert.equal("2", (join(connect(), name, "{ retained = true }")))
  end)

  it("is one of at most so many", function()
    local name = room "price"
    for _, key in ipairs { "a", "b", "c", "a", "d" } do set(name, key, key) end
    assert.equal("c,a,d", history(name, "{ retained = true }"))
    set(name, "c", ("x"):rep(989)) -- "own:d", "own:xxx…" and the keys are 1000 bytes
    assert.equal("d," .. ("x"):rep(989), history(name, "{ retained = true }"))
    set(name, "c", ("x"):rep(990))
    assert.equal(("x"):rep(990), history(name, "{ retained = true }"))
  end)

  it("may be forgotten", function()
    local name = room "price"
    set(name, "a", "a1")
    set(name, "b", "b1")
    run("tw.room(%q):clear_history({ key = 'a' })", name)
    run("tw.room(%q):clear_history({ key = 'none' })", name)
    assert.equal("b1", history(name, "{ retained = true }"))
  end)

  it("comes once with a history", function()
    local name = room "both"
    set(name, "a", "a1")
    set(name, "b", "b1")
    set(name, "c", "c1")
    set(name, "a", "a2")
    assert.equal("b1 c1 a2", (join(connect(), name, "{ history = 10 }")))
    assert.equal("b1 c1 a2", (join(connect(), name, "{ history = 10, retained = true }")))
    assert.equal("a2 b2", (function()
      set(name, "b", "b2")
      return (join(connect(), name, "{ history = 2 }"))
    end)())
    assert.equal("c1 a2 b2", (join(connect(), name, "{ retained = true }")))
  end)
end)

describe("an app with several codecs", function()
  it("remembers each message in all of them", function()
    local name = room "chat"
    broadcast(name, "hello")
    run("return tw.room(%q):broadcast({ 1, 2 })", name) -- text cannot express it
    run("return tw.room(%q):broadcast('bad')", name)
    assert.equal("hello bad", (join(connect(), name, "{ history = 5 }")))
    local json = connect("/joins?room=" .. name)
    assert.same({ '"hello"', "[1,2]", '"bad"' },
      { (json:receive()), (json:receive()), (json:receive()) })
    local binary = connect("/joins/binary?room=" .. name)
    assert.same({ "hello", "binary" }, { binary:receive() })
    local own = connect("/joins/own?room=" .. name)
    assert.same({ "own:hello", "binary" }, { own:receive() })
    assert.equal('"hello",[1,2],"bad"', history(name, "{ endpoint = '/json' }"))
    assert.equal("hello,[1,2],bad", history(name))
    local _, answer = join(connect(), name, "{ after = 0 }")
    assert.matches('"recovered":false', answer)
  end)

  it("keeps bytes that are no text", function()
    local name = room "chat"
    run("return tw.room(%q):broadcast('\\xff')", name)
    local binary = connect("/joins/binary?room=" .. name)
    assert.same({ "\xff", "binary" }, { binary:receive() })
    assert.equal("binary", run("return tw.room(%q):history()[1].kind", name))
  end)

  it("refuses a value that no codec can express", function()
    local name = room "chat"
    local answer = run("return select(2, pcall(function() tw.room(%q):broadcast(print) end))", name)
    assert.matches("^code:1: room:broadcast: ", answer)
    assert.equal("", history(name))
  end)
end)

describe("a replay", function()
  it("may be larger than max_backlog, which then counts what comes later", function()
    local name = room "many"
    for i = 1, 30 do broadcast(name, ("%02d"):format(i) .. ("x"):rep(2000)) end
    local peer = connect("/tight")
    local got = join(peer, name, "{ history = 30 }")
    assert.equal(30 * 2002 + 29, #got)
    broadcast(name, "later")
    check_got_only(peer, "later")
  end)

  it("shares the compressed form of its messages", function()
    local name = room "chat"
    broadcast(name, ("x"):rep(5000))
    local before = tonumber(run("return tw.stats().compressions"))
    for _ = 1, 3 do
      local peer = connect("/packed", { deflate = "" })
      peer:send_text(("conn:join(%q, nil, { history = 5 })"):format(name))
      assert.equal(("x"):rep(5000), (peer:receive()))
      assert.equal("= ", (peer:receive()))
    end
    assert.equal(before + 1, tonumber(run("return tw.stats().compressions")))
  end)
end)

describe("misuse", function()
  local function problem(code, ...)
    local text = run("return select(2, pcall(function() " .. code .. " end))", ...)
    return text
  end

  it("of conn:join is told at the line of the script", function()
    local peer = connect()
    for options, expected in pairs {
      ["5"] = "code:1: conn:join: options must be a table, got number",
      ["{ histori = 5 }"] = 'code:1: conn:join: unknown option "histori"; did you mean "history"?',
      ["{ history = -1 }"] = "code:1: conn:join: history must be a whole number, 0 or more, got -1",
      ["{ history = 1.5 }"] =
        "code:1: conn:join: history must be a whole number, 0 or more, got 1.5",
      ["{ after = {} }"] = "code:1: conn:join: after must be an offset, got table",
      ["{ epoch = 'x' }"] = "code:1: conn:join: epoch needs after, the offset in it",
      ["{ after = 1, epoch = {} }"] = "code:1: conn:join: epoch must be a text, got table",
      ["{ retained = 1 }"] = "code:1: conn:join: retained must be true or false, got 1",
      ["conn"] = "code:1: conn:join: options must be a table, got a connection",
    } do
      peer:send_text(("local ok = conn:join('chat:x', nil, %s) return ok"):format(options))
      assert.equal("error: " .. expected, (peer:receive()):match("^[^\n]*"))
    end
  end)

  it("of rooms is told as well", function()
    assert.equal("code:1: room:history: limit must be a whole number, 0 or more, got -1",
      problem("tw.room('chat:x'):history { limit = -1 }"))
    assert.equal('code:1: room:history: there is no endpoint string "/jso"; did you mean "/json"?',
      problem("tw.room('chat:x'):history { endpoint = '/jso' }"))
    assert.equal('code:1: room:history: unknown option "afer"; did you mean "after"?',
      problem("tw.room('chat:x'):history { afer = 1 }"))
    assert.equal("code:1: room:clear_history: key must be a string, got number",
      problem("tw.room('chat:x'):clear_history { key = 1 }"))
    assert.equal("code:1: room:history: call it with a colon, room:history(…)",
      problem("tw.room('chat:x').history()"))
  end)
end)

describe("the memory of all rooms", function()
  it("is counted, and has a limit", function()
    local before = tonumber(run("return tw.stats().room_memory_bytes"))
    assert.is_true(before > 0)
    run([[for i = 1, 20000 do tw.room("many:flood:" .. i):broadcast(("x"):rep(100)) end]])
    run([[for i = 1, 3000 do tw.room("many:one"):broadcast(("x"):rep(1000)) end]])
    run([[tw.room("many:one"):broadcast(("x"):rep(1 << 20))]])
    local figures = run("local s = tw.stats() return s.room_memory_bytes <= 4 << 20, "
      .. "s.room_memory_bytes > 2 << 20, s.rooms_with_memory > 1000, s.room_memory_messages > 1000,"
      .. "s.room_memory_evictions > 1000")
    assert.equal("true true true true true", figures)
  end)
end)
