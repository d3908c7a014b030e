-- room_spec.lua -- tw.room, tw.broadcast, tw.send and conn:join: how often a value is encoded, for
-- which codecs, and what is refused. A fake keeps the members; tests/unit/test_room.c and
-- tests/server/rooms_spec.lua test the real rooms.

local fake_app = require "support.fake_app"

local world, tw

-- ---- the part of the core that keeps rooms: bind_room.c ----

local function is_open(id)
  local conn = world.conns[id]
  return conn ~= nil and conn.state == "open"
end

--- The codec's number of a connection, as the program was told when the app was loaded; or as new
--- code has it, in the other worker where the connection is.
local function codec_of(id)
  return world.conns[id].codec_ahead or world.endpoints[world.conns[id].endpoint + 1].codec
end

local function add_members(core, rooms)
  function core.join(id, name, info)
    assert(type(name) == "string" and (info == nil or type(info) == "string"))
    if is_open(id) then
      rooms[name] = rooms[name] or {}
      rooms[name][id] = info or true
    end
    return is_open(id)
  end

  function core.leave(id, name)
    assert(type(name) == "string")
    if is_open(id) and rooms[name] then
      rooms[name][id] = nil
    end
    return is_open(id)
  end

  function core.rooms_of(id)
    local names = {}
    for name, members in pairs(rooms) do
      if members[id] then
        names[#names + 1] = name
      end
    end
    return names
  end

  function core.room_members(name)
    local list = {}
    for id, info in pairs(rooms[name] or {}) do
      table.move({ id, '"a name"', info ~= true and info, false }, 1, 4, #list + 1, list)
    end
    return list
  end

  function core.room_size(name) return #core.room_members(name) // 4 end
end

local function add_publish(core)
  function core.room_codecs(name)
    local seen, list = {}, {}
    for id in pairs(core.rooms[name] or {}) do
      if not seen[codec_of(id)] then
        seen[codec_of(id)] = true
        list[#list + 1] = codec_of(id)
      end
    end
    return list
  end

  --- The arguments from `first` on, three for each encoding, by codec. nil: one is no UTF-8.
  local function read_encodings(...)
    local encodings = {}
    for i = 1, select("#", ...), 3 do
      local codec, payload, kind = select(i, ...)
      assert(math.type(codec) == "integer" and not encodings[codec])
      assert(not payload or type(payload) == "string" and (kind == "text" or kind == "binary"))
      if payload and kind == "text" and not utf8.len(payload) then
        return nil
      end
      encodings[codec] = { payload = payload, kind = kind }
    end
    return encodings
  end

  function core.publish(room, endpoint, except, key, stays_plain, ...)
    assert(endpoint == nil or math.type(endpoint) == "integer")
    local encodings = read_encodings(...)
    if not encodings then
      return nil
    end
    local count, meant, missing = 0, {}, {}
    for id, conn in pairs(world.conns) do
      local is_there = is_open(id) and (not room or core.rooms[room] and core.rooms[room][id])
        and (not endpoint or conn.endpoint == endpoint)
      if is_there and not encodings[codec_of(id)] then
        missing[#missing + 1] = codec_of(id)
      elseif is_there and id ~= except and encodings[codec_of(id)].payload then
        meant[id] = encodings[codec_of(id)]
      end
    end
    if missing[1] then
      return false, { missing[1] } -- one at a time
    end
    for id, encoding in pairs(meant) do
      count = count + 1
      table.insert(world.sent,
        { id = id, payload = encoding.payload, kind = encoding.kind, key = key,
          stays_plain = stays_plain })
    end
    return count
  end

  function core.codec_of(id) return is_open(id) and codec_of(id) or nil end

  function core.send_anywhere(id, codec, payload, kind, key, stays_plain)
    if kind == "text" and not utf8.len(payload) then return nil, "utf8" end
    if not is_open(id) then return nil, "closed" end
    if codec_of(id) ~= codec then return nil, "closed" end
    table.insert(world.sent,
      { id = id, payload = payload, kind = kind, key = key, stays_plain = stays_plain })
    return true
  end

  function core.close_anywhere(id, code, reason)
    local was_open = is_open(id)
    core.close(id, code, reason)
    return was_open
  end
end

before_each(function()
  world = fake_app:install()
  world.core.rooms = {}
  add_members(world.core, world.core.rooms)
  add_publish(world.core)
  tw = require "tidewire"
end)

after_each(function() world:uninstall() end)

-- ---- clients ----

local last -- the connection whose on_start ran last

local function note_conn(conn) last = conn end

--- A client of an endpoint, in these rooms.
local function connect(path, ...)
  local answer, id = world:handshake(path)
  assert(answer.status == 101)
  world.conns[id].state, world.conns[id].endpoint = "open", answer.endpoint
  world:event("opened", id, world:object(id))
  for _, name in ipairs { ... } do
    assert.is_true(last:join(name))
  end
  return last
end

--- What a connection was sent: payloads, each behind the first letter of its kind.
local function got(conn)
  local list = {}
  for _, message in ipairs(world.sent) do
    if message.id == rawget(conn, world.core.conn_key) then
      list[#list + 1] = message.kind:sub(1, 1) .. " " .. message.payload
    end
  end
  return table.concat(list, ", ")
end

--- The message of f's error, which must name a line of this file.
local function misuse(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return assert(message:match("room_spec%.lua:%d+: (.*)"), message)
end

local encodings -- how often the codec of "/own" was asked

--- A codec that refuses what is no string and marks the rest.
local own = {
  decode = function(payload) return payload end,
  encode = function(value)
    encodings = encodings + 1
    if type(value) ~= "string" then
      error("own: no string", 0)
    end
    return "<" .. value .. ">", "binary"
  end,
}

local answer_of_bad -- what the codec of "/bad" answers

local bad = {
  decode = function(payload) return payload end,
  encode = function() return table.unpack(answer_of_bad, 1, 2) end,
}

local function serve()
  encodings, answer_of_bad = 0, { "payload" }
  world:serve {
    defaults = { on_start = note_conn },
    endpoints = {
      ["/text"] = {}, ["/chat"] = {}, ["/binary"] = { codec = "binary" },
      ["/json"] = { codec = "json" }, ["/own"] = { codec = own }, ["/own/too"] = { codec = own },
      ["/bad"] = { codec = bad },
    },
  }
end

describe("tw.room", function()
  it("is a name", function()
    local lobby = tw.room("lobby")
    assert.equal("lobby", lobby.name)
    assert.equal('tidewire.Room "lobby"', tostring(lobby))
    assert.is_true(lobby == tw.room("lobby"))
    assert.is_false(lobby == tw.room("Lobby"))
    assert.equal(0, lobby:size())
    assert.same({}, lobby:members())
    assert.equal(0, lobby:broadcast("hello?"))
  end)

  it("wants one", function()
    assert.equal("tw.room: a name is needed, got nil", misuse(function() tw.room() end))
    assert.equal('tw.room: a name is needed, got ""', misuse(function() tw.room("") end))
    assert.equal("tw.room: a name is needed, got number", misuse(function() tw.room(7) end))
    assert.equal("tw.room: a name is needed, got a room",
      misuse(function() tw.room(tw.room("x")) end))
  end)

  it("has methods, called with a colon", function()
    serve()
    for _, method in ipairs { "broadcast", "size", "members", "watch" } do
      local call = tw.room("x")[method]
      local message = ("room:%s: call it with a colon, room:%s(…)"):format(method, method)
      assert.equal(message, misuse(function() call() end))
      assert.equal(message, misuse(function() call("hello") end))
      assert.equal(message, misuse(function() call({ name = "x" }) end))
    end
  end)
end)

describe("conn:join and conn:leave", function()
  before_each(serve)

  it("return true; nil and the reason for a connection that closes", function()
    local ada = connect("/text")
    assert.is_true(ada:join("lobby"))
    assert.is_true(ada:leave("lobby"))
    world:close(ada)
    assert.same({ nil, "closed" }, { ada:join("lobby") })
    assert.same({ nil, "closed" }, { ada:leave("lobby") })
    assert.same({}, ada:rooms())
  end)

  it("change what conn:rooms() lists, sorted", function()
    local ada = connect("/text", "b", "c", "a", "ä", "B")
    assert.same({ "B", "a", "b", "c", "ä" }, ada:rooms())
    ada:leave("b")
    assert.same({ "B", "a", "c", "ä" }, ada:rooms())
  end)

  it("want a name", function()
    local ada = connect("/text")
    for _, method in ipairs { "join", "leave" } do
      local what = ("conn:%s: a room's name is needed, got "):format(method)
      assert.equal(what .. "nil", misuse(function() ada[method](ada) end))
      assert.equal(what .. '""', misuse(function() ada[method](ada, "") end))
      assert.equal(what .. "number", misuse(function() ada[method](ada, 1) end))
      assert.equal(what .. "table", misuse(function() ada[method](ada, tw.room("lobby")) end))
    end
  end)
end)

describe("room:size and room:members", function()
  it("return members with id, name and info", function()
    serve()
    local ada, bob = connect("/text", "lobby"), connect("/json", "lobby")
    connect("/text", "elsewhere")
    ada:join("lobby", { user = "ada", level = 3 })
    assert.equal(2, tw.room("lobby"):size())
    local members = {}
    for _, member in ipairs(tw.room("lobby"):members()) do
      members[member.id] = member
    end
    assert.same({ id = ada.id, name = "a name", info = { user = "ada", level = 3 } },
      members[ada.id])
    assert.same({ id = bob.id, name = "a name" }, members[bob.id])
  end)

  it("take no info that JSON has no form for", function()
    serve()
    local ada = connect("/text")
    local says =
      "is a function: JSON has only objects, arrays, strings, numbers, booleans and null; "
        .. "call it, or leave it out"
    assert.equal("conn:join: info " .. says, misuse(function() ada:join("lobby", print) end))
    assert.equal("conn:join: info.f " .. says,
      misuse(function() ada:join("lobby", { f = print }) end))
    assert.equal(0, tw.room("lobby"):size())
  end)
end)

describe("room:broadcast", function()
  local lobby

  before_each(function()
    serve()
    lobby = tw.room("lobby")
  end)

  it("gives each the value as its codec has it, and answers how many there were", function()
    local text, binary, json = connect("/text", "lobby"), connect("/binary", "lobby"),
      connect("/json", "lobby")
    local mine, other = connect("/own", "lobby"), connect("/text", "elsewhere")
    assert.equal(4, lobby:broadcast("hi"))
    assert.same({ "t hi", "b hi", 't "hi"', "b <hi>", "" },
      { got(text), got(binary), got(json), got(mine), got(other) })
  end)

  it("encodes once for all connections of one codec", function()
    for _ = 1, 5 do
      connect("/own", "lobby")
      connect("/own/too", "lobby")
    end
    assert.equal(10, lobby:broadcast("hi"))
    assert.equal(1, encodings)
  end)

  it("encodes nothing for codecs without a member", function()
    connect("/own", "elsewhere")
    local ada = connect("/json", "lobby")
    assert.equal(1, lobby:broadcast({ a = 1 }))
    assert.equal('t {"a":1}', got(ada))
    assert.equal(0, encodings)
  end)

  it("takes numbers as conn:send does", function()
    local text, binary, json = connect("/text", "lobby"), connect("/binary", "lobby"),
      connect("/json", "lobby")
    lobby:broadcast(7)
    assert.same({ "t 7", "b 7", "t 7" }, { got(text), got(binary), got(json) })
  end)

  it("leaves one out, given as it is or as an option", function()
    local ada, bob = connect("/text", "lobby"), connect("/text", "lobby")
    assert.equal(1, lobby:broadcast("1", ada))
    assert.equal(1, lobby:broadcast("2", { except = bob }))
    assert.equal(2, lobby:broadcast("3", {}))
    assert.equal(2, lobby:broadcast("4", { except = nil }))
    assert.same({ "t 2, t 3, t 4", "t 1, t 3, t 4" }, { got(ada), got(bob) })
  end)

  it("stays uncompressed where the script says so", function()
    connect("/text", "lobby")
    for _, options in ipairs { { compress = false }, { compress = true }, {} } do
      lobby:broadcast("a", options)
      tw.broadcast("b", options)
    end
    local seen = {}
    for i, message in ipairs(world.sent) do
      seen[i] = message.payload .. tostring(message.stays_plain)
    end
    assert.same({ "atrue", "btrue", "anil", "bnil", "anil", "bnil" }, seen)
  end)

  it("hands the key on", function()
    connect("/text", "lobby")
    connect("/json", "lobby")
    lobby:broadcast("here", { key = "pos:1" })
    assert.same({ "pos:1", "pos:1" }, { world.sent[1].key, world.sent[2].key })
  end)

  it("refuses options that cannot be meant", function()
    local ada = connect("/text", "lobby")
    local function refusal(options)
      return misuse(function() lobby:broadcast("hi", options) end)
    end
    assert.equal("room:broadcast: options must be a table or a connection, got string",
      refusal(ada.id))
    assert.equal("room:broadcast: options must be a table or a connection, got boolean",
      refusal(false))
    assert.equal("room:broadcast: except must be a connection or its conn.id, got number",
      refusal { except = 7 })
    assert.equal("room:broadcast: except must be a connection or its conn.id, got table",
      refusal { except = { ada } })
    assert.equal("room:broadcast: key must be a string, got number", refusal { key = 1 })
    assert.equal('room:broadcast: key must be a string, got ""', refusal { key = "" })
    assert.equal("room:broadcast: the key has 1025 bytes; at most 1024 are possible",
      refusal { key = ("x"):rep(1025) })
    assert.equal('room:broadcast: unknown option "excpet"; did you mean "except"?',
      refusal { excpet = ada })
    assert.equal('room:broadcast: unknown option "Key"; did you mean "key"?',
      refusal { Key = "pos", except = ada })
    assert.equal('room:broadcast: unknown option "1"; there are "compress", "except" and "key"',
      refusal { ada })
    assert.equal(
      'room:broadcast: unknown option "endpoint"; there are "compress", "except" and "key"',
      refusal { endpoint = "/text" })
    assert.equal(
      'room:broadcast: unknown option "a?b"; there are "compress", "except" and "key"',
      refusal { ["a\nb"] = 1 })
    assert.equal("", got(ada))
  end)

  --- The error of a broadcast of a value to clients of two endpoints. It must reach no client.
  local function refused(value, one, other)
    connect(one, "lobby")
    connect(other, "lobby")
    local message = misuse(function() lobby:broadcast(value) end)
    assert.equal(0, #world.sent)
    return message
  end

  it("sends nothing that one of the codecs refuses", function()
    assert.equal('room:broadcast: a string is needed for the codec "text", got table',
      refused({}, "/json", "/text"))
  end)

  it("sends nothing that the codec \"binary\" refuses", function()
    assert.equal('room:broadcast: a string is needed for the codec "binary", got boolean',
      refused(true, "/json", "/binary"))
  end)

  it("sends nothing that JSON cannot express", function()
    assert.matches("^room:broadcast: value.list%[2%] is a function",
      refused({ list = { 1, print } }, "/json", "/bad"))
  end)

  it("sends no text that is not UTF-8", function()
    assert.equal('room:broadcast: text must be valid UTF-8; for other bytes give the endpoint the '
      .. 'codec "binary"',
      refused("\xff", "/binary", "/text"))
  end)

  it("refuses text that is not UTF-8 where all have one codec, too", function()
    assert.equal('room:broadcast: text must be valid UTF-8; for other bytes give the endpoint the '
      .. 'codec "binary"',
      refused("\xff", "/chat", "/text"))
  end)

  it("lets other bytes pass where they may", function()
    local ada = connect("/binary", "lobby")
    assert.equal(1, lobby:broadcast("\xff"))
    assert.equal("b \xff", got(ada))
  end)

  it("lets what a codec throws pass as it is", function()
    connect("/text", "lobby")
    connect("/own", "lobby")
    local ok, message = pcall(lobby.broadcast, lobby, 7)
    assert.same({ false, "own: no string" }, { ok, message })
    assert.equal(0, #world.sent)
  end)

  it("looks at what a codec answers", function()
    connect("/bad", "lobby")
    local function refusal(...)
      answer_of_bad = { ... }
      return misuse(function() lobby:broadcast("hi") end)
    end
    assert.equal("room:broadcast: the codec's encode must return a string, it returned nil",
      refusal())
    assert.equal("room:broadcast: the codec's encode must return a string, it returned number",
      refusal(1))
    assert.equal('room:broadcast: the codec\'s encode must return the kind "text" or "binary", it '
      .. 'returned blob',
      refusal("payload", "blob"))
    answer_of_bad = { "payload" }
    assert.equal(1, lobby:broadcast("hi"))
    assert.equal("text", world.sent[1].kind)
  end)
end)

describe("tw.broadcast", function()
  local text, chat, json

  before_each(function()
    serve()
    text, chat, json = connect("/text", "lobby"), connect("/chat"), connect("/json")
  end)

  it("sends the value to all connections, in a room or not", function()
    assert.equal(3, tw.broadcast("hi"))
    assert.same({ "t hi", "t hi", 't "hi"' }, { got(text), got(chat), got(json) })
  end)

  it("goes to those of one endpoint, but one", function()
    assert.equal(1, tw.broadcast("1", { endpoint = "/chat" }))
    assert.equal(2, tw.broadcast("2", chat))
    assert.equal(2, tw.broadcast("3", { except = text, key = "k" }))
    assert.equal(0, tw.broadcast("4", { endpoint = "/text", except = text }))
    assert.same({ "t 2", "t 1, t 3", 't "2", t "3"' }, { got(text), got(chat), got(json) })
    assert.equal("k", world.sent[#world.sent].key)
  end)

  it("needs only what the codec of that endpoint can encode", function()
    assert.equal(1, tw.broadcast({ a = 1 }, { endpoint = "/json" }))
    assert.equal('t {"a":1}', got(json))
    assert.equal('tw.broadcast: a string is needed for the codec "text", got table',
      misuse(function() tw.broadcast({}, { endpoint = "/chat" }) end))
  end)

  it("knows the endpoints", function()
    local function refusal(options)
      return misuse(function() tw.broadcast("hi", options) end)
    end
    assert.equal('tw.broadcast: there is no endpoint "/char"; did you mean "/chat"?',
      refusal { endpoint = "/char" })
    assert.equal('tw.broadcast: there is no endpoint "/elsewhere"',
      refusal { endpoint = "/elsewhere" })
    assert.equal("tw.broadcast: endpoint must be the path of one, got boolean",
      refusal { endpoint = false })
    assert.equal(
      'tw.broadcast: unknown option "room"; there are "compress", "endpoint", "except" and "key"',
      refusal { room = "x" })
    assert.equal('tw.broadcast: unknown option "endpiont"; did you mean "endpoint"?',
      refusal { endpiont = "/chat" })
    assert.equal("tw.broadcast: options must be a table or a connection, got string",
      refusal "/chat")
    assert.equal("", got(chat))
  end)
end)

describe("tw.send", function()
  it("sends to the connection of that id, through its codec", function()
    serve()
    local ada, bob = connect("/json"), connect("/own")
    assert.is_true(tw.send(ada.id, { a = 1 }))
    assert.is_true(tw.send(bob.id, "hi"))
    assert.same({ 't {"a":1}', "b <hi>" }, { got(ada), got(bob) })
  end)

  it("returns nil and the reason for a closed or unknown connection", function()
    serve()
    local ada = connect("/text")
    world:close(ada)
    assert.same({ nil, "closed" }, { tw.send(ada.id, "hi") })
    world:forget(ada)
    for _, id in ipairs { ada.id, "", "x", "1", "\0", "-1", "99999999999999999999" } do
      assert.same({ nil, "closed" }, { tw.send(id, "hi") })
    end
  end)

  it("returns the same for another process's id, even with a connection of its number", function()
    serve()
    local ada = connect("/text")
    assert.is_true(tw.send(ada.id, "hi"))
    for _, digit in ipairs { 1, 11 } do
      local foreign = ada.id:sub(1, digit - 1) .. (ada.id:byte(digit) == 0x30 and "1" or "0")
        .. ada.id:sub(digit + 1)
      assert.equal(#ada.id, #foreign)
      assert.same({ n = 2, nil, "closed" }, table.pack(tw.send(foreign, "hi")))
      assert.same({ n = 2, nil, "closed" }, table.pack(tw.close(foreign)))
    end
    assert.equal("t hi", got(ada))
    assert.is_nil(world:close_of(ada))
  end)

  it("wants an id", function()
    serve()
    local ada = connect("/text")
    assert.equal("tw.send: a conn.id is needed, got a connection",
      misuse(function() return tw.send(ada, "hi"), 1 end))
    assert.equal("tw.send: a conn.id is needed, got nil",
      misuse(function() return tw.send(), 1 end))
  end)

  it("refuses invalid options, for a closed connection, too", function()
    serve()
    local ada = connect("/text")
    for _, id in ipairs { ada.id, "1" } do
      local function refusal(options)
        return misuse(function() return tw.send(id, "hi", options), 1 end)
      end
      assert.equal('tw.send: kind must be "text" or "binary", got txt', refusal "txt")
      assert.equal('tw.send: kind must be "text" or "binary", got 1', refusal { kind = 1 })
      assert.equal("tw.send: key must be a string, got number", refusal { key = 1 })
      assert.equal('tw.send: key must be a string, got ""', refusal { key = "" })
      assert.equal('tw.send: unknown option "kye"; did you mean "key"?', refusal { kye = "pos" })
      assert.equal('tw.send: unknown option "except"; there are "compress", "key" and "kind"',
        refusal { except = ada })
      assert.equal("tw.send: a kind or a table of options is needed, got a connection",
        refusal(ada))
    end
    assert.equal("", got(ada))
  end)
end)

describe("a room", function()
  it("takes no fields of the script's, which would be lost", function()
    assert.equal('a room has no fields of the script\'s (string "topic"): keep such things in a '
      .. 'table of your own, '
      .. "by the room's name", misuse(function() tw.room("lobby").topic = "tea" end))
  end)
end)

describe("tw.close", function()
  it("closes a connection known by its id, once", function()
    serve()
    local ada, bob = connect("/text"), connect("/text")
    assert.is_true(tw.close(ada.id, 4003, "kicked"))
    assert.is_true(tw.close(bob.id))
    assert.same({ 4003, "kicked" }, { world:close_of(ada) })
    assert.same({ 1000, "" }, { world:close_of(bob) })
    assert.same({ n = 2, nil, "closed" }, table.pack(tw.close(ada.id)))
    assert.same({ n = 2, nil, "closed" }, table.pack(tw.close("ada")))
  end)

  it("throws at its caller for what cannot be meant", function()
    serve()
    local ada = connect("/text")
    assert.equal("tw.close: a conn.id is needed, got a connection",
      misuse(function() return tw.close(ada), 1 end))
    assert.equal("tw.close: a conn.id is needed, got nil",
      misuse(function() return tw.close(), 1 end))
    assert.matches("^tw.close: 1005 is no code that can be sent",
      misuse(function() return tw.close("x", 1005), 1 end))
    assert.matches("^tw.close: false is no code",
      misuse(function() return tw.close("x", false), 1 end))
    assert.equal("tw.close: the reason must be UTF-8 text of at most 123 bytes",
      misuse(function() return tw.close("x", 1000, ("x"):rep(124)), 1 end))
    assert.is_true(ada:is_open())
  end)
end)

describe("while other workers have new code already", function()
  local TEXT <const>, JSON <const>, CUSTOM <const> = 0, 2, 3
  local here, ahead

  --- Two clients of an endpoint: one here, one of a worker that has new code, with the codec of
  --- this number.
  local function with_codecs(old, number)
    world:load(("return { endpoints = { ['/'] = { codec = %s }, ['/json'] = { codec = 'json' } } }")
      :format(old))
    local function open()
      local answer, id = world:handshake("/")
      world.conns[id].state, world.conns[id].endpoint = "open", answer.endpoint
      world.core.rooms.hall = world.core.rooms.hall or {}
      world.core.rooms.hall[id] = true
      return id
    end
    here, ahead = open(), open()
    world.conns[ahead].codec_ahead = number
  end

  local function sent_to(id)
    local list = {}
    for _, message in ipairs(world.sent) do
      if message.id == id then list[#list + 1] = message.payload end
    end
    return table.concat(list, " ")
  end

  local function speak(value)
    local counts = {
      tw.room("hall"):broadcast(value), tw.broadcast(value),
      tw.broadcast(value, { endpoint = "/" }),
    }
    return table.concat(counts, " "), tw.send(world.core.id_text(ahead), value)
  end

  it("a value is encoded as they have it, where this code has such a codec", function()
    with_codecs('"text"', JSON)
    local counts, ok = speak("x")
    assert.same({ "2 2 2", true }, { counts, ok })
    assert.same({ "x x x", '"x" "x" "x" "x"' }, { sent_to(here), sent_to(ahead) })
  end)

  it("they get nothing where their codec is not this code's, and the others do", function()
    for old, number in pairs {
      ['"text"'] = CUSTOM, ['{ decode = tostring, encode = tostring }'] = TEXT,
    } do
      world.sent, world.core.rooms.hall = {}, {}
      with_codecs(old, number)
      local counts, ok, problem = speak("x")
      assert.same({ "1 1 1", nil, "refused" }, { counts, ok, problem })
      assert.same({ "x x x", "" }, { sent_to(here), sent_to(ahead) })
      world.conns[here], world.conns[ahead] = nil, nil
    end
  end)

  it("drops a message encoded for a codec that changes before the send, and closes", function()
    with_codecs('"text"', TEXT)
    local send = world.core.send_anywhere
    function world.core.send_anywhere(...)
      world.conns[ahead].codec_ahead = JSON
      return send(...)
    end
    assert.same({ nil, "closed" }, { tw.send(world.core.id_text(ahead), "y") })
    assert.equal("", sent_to(ahead))
  end)

  it("a codec that joins before it is sent is encoded, too", function()
    with_codecs('"text"', TEXT)
    local publish = world.core.publish
    function world.core.publish(...)
      world.conns[ahead].codec_ahead = JSON
      return publish(...)
    end
    assert.equal(2, tw.room("hall"):broadcast("x"))
    assert.same({ "x", '"x"' }, { sent_to(here), sent_to(ahead) })
  end)
end)
