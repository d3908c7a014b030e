-- chat_spec.lua -- the chat example without its page: all messages, their receivers, and refusals.
-- tests/browser/chat_spec.lua tests the page.

local cjson = require "cjson"
local client = require "support.client"
local server = require "support.server"

local PATH = require("luv").cwd() .. "/examples/chat/app.lua"

describe("examples/chat", function()
  local app

  before_each(function() app = server.start({ app_path = PATH }) end)
  after_each(function() app:stop() end)

  local function say(peer, message) peer:send_text(cjson.encode(message)) end

  local function receive(peer)
    local text, kind, code, reason = peer:receive()
    assert(text, ("no message came: %s %s %s"):format(kind, code, reason))
    return cjson.decode(text)
  end

  local function ask(peer, message)
    say(peer, message)
    return receive(peer)
  end

  local function encoded(text)
    return (text:gsub("[^%w_.-]", function(byte) return ("%%%02X"):format(byte:byte()) end))
  end

  -- Connects; returns the client and its welcome.
  local function enter(query)
    local peer = app:connect("/chat" .. (query and "?" .. query or ""))
    local welcome = receive(peer)
    assert.equal("welcome", welcome.type)
    return peer, welcome
  end

  -- Earlier messages have arrived when this answer has: messages of a connection keep their order.
  local function assert_nothing_came(peer)
    assert.equal("server_stats", ask(peer, { type = "server_stats" }).type)
  end

  -- Ada and Bob in "general", after all messages about it.
  local function ada_and_bob()
    local ada, ada_welcome = enter("username=ada")
    local bob, bob_welcome = enter("username=bob")
    assert.equal("user_joined", receive(ada).type)
    return ada, bob, ada_welcome, bob_welcome
  end

  describe("joining", function()
    it("sends welcome, and user_joined to the others", function()
      local ada, welcome = enter("username=ada")
      assert.is_truthy(welcome.connId:find("^%w+$"))
      assert.is_truthy(welcome.server:find("^Tidewire "))
      assert.same({
        type = "welcome", connId = welcome.connId, username = "ada", room = "general",
        server = welcome.server,
      }, welcome)
      local bob, bob_welcome = enter("username=bob")
      assert.same({ type = "user_joined", username = "bob", room = "general",
        connId = bob_welcome.connId }, receive(ada))
      assert_nothing_came(bob)
    end)

    it("gives a user without a name one, each a different one", function()
      local seen = {}
      for _, query in ipairs({ "", "username=", "username=" }) do
        local _, welcome = enter(query)
        assert.is_truthy(welcome.username:find("^user_%d%d%d%d$"), welcome.username)
        assert.is_nil(seen[welcome.username])
        seen[welcome.username] = true
      end
    end)

    it("adds a number to a name that is taken", function()
      enter("username=ada")
      local _, second = enter("username=Ada")
      assert.is_truthy(second.username:find("^Ada_%d%d%d%d$"), second.username)
      local long = ("é"):rep(24)
      enter("username=" .. encoded(long))
      local _, other = enter("username=" .. encoded(long))
      assert.is_truthy(other.username:find("^é.*_%d%d%d%d$"), other.username)
      assert.is_true(utf8.len(other.username) <= 24) -- so that it can come again under that name
    end)

    it("frees a name when its holder has left", function()
      local ada = enter("username=ada")
      local bob = enter("username=bob")
      ada:close(1000)
      assert.equal("user_left", receive(bob).type)
      local _, again = enter("username=ada")
      assert.equal("ada", again.username)
    end)

    it("begins in another room when asked to", function()
      local _, welcome = enter("room=garden")
      assert.equal("garden", welcome.room)
    end)

    it("accepts names in any script", function()
      for _, name in ipairs({ "Zoë", "Мария", "美咲", "x-1_y.z" }) do
        local _, welcome = enter("username=" .. encoded(name))
        assert.equal(name, welcome.username)
      end
    end)

    it("refuses invalid names, rooms and tickets, with the reason", function()
      for query, why in pairs({
        ["username=" .. ("a"):rep(25)] = "username must have 1 to 24 characters, not 25",
        ["username=ada%20l"] = "no blanks",
        ["username=%3Cb%3E"] = "username may have letters",
        ["username=a%0Ab"] = "username may have letters",
        ["username=ada%E2%80%8B"] = "username may have letters",     -- a blank of no width
        ["username=%E2%80%AEada"] = "username may have letters",     -- turns the line's direction
        ["username=%FF"] = "username must be text",
        ["room="] = "room must have 1 to 32 characters, not 0",
        ["room=" .. ("r"):rep(33)] = "room must have 1 to 32 characters, not 33",
        ["room=a/b"] = "room may have letters",
        ["ticket="] = "ticket must have 1 to 64 letters",
        ["ticket=a.b"] = "ticket must have 1 to 64 letters",
        ["ticket=" .. ("s"):rep(65)] = "ticket must have 1 to 64 letters",
      }) do
        local peer, status, _, body = client.connect(app:url("/chat?" .. query))
        assert.is_nil(peer, query)
        assert.equal(400, status)
        assert.is_truthy(body:find(why, 1, true), query .. " -> " .. body)
      end
      local _, welcome = enter(("username=%s&room=%s&ticket=%s")
        :format(("a"):rep(24), ("r"):rep(32), ("s"):rep(64)))
      assert.equal(("r"):rep(32), welcome.room)
    end)
  end)

  describe("chat", function()
    it("goes to the others in the room, and not to its sender", function()
      local ada, bob = ada_and_bob()
      local carl = enter("username=carl&room=garden")
      say(ada, { type = "chat", message = "hello, wörld" })
      local received = receive(bob)
      assert.is_true(math.abs(received.timestamp - os.time()) < 60)
      assert.same({
        type = "chat", username = "ada", message = "hello, wörld", room = "general",
        timestamp = received.timestamp,
      }, received)
      assert_nothing_came(ada)
      assert_nothing_came(carl)
    end)

    it("keeps the order, and gives each message a later time", function()
      local ada, bob = ada_and_bob()
      for number = 1, 60 do say(ada, { type = "chat", message = "number " .. number }) end
      local last = 0
      for number = 1, 60 do
        local received = receive(bob)
        assert.equal("number " .. number, received.message)
        assert.is_true(received.timestamp > last)
        last = received.timestamp
      end
    end)

    it("ignores a name and a room in the message", function()
      local ada, bob = ada_and_bob()
      say(ada, { type = "chat", message = "hi", username = "root", room = "garden", timestamp = 1 })
      local received = receive(bob)
      assert.same({ "ada", "general" }, { received.username, received.room })
      assert.is_true(received.timestamp > 1)
    end)

    it("leaves markup as it is", function()
      local ada, bob = ada_and_bob()
      say(ada, { type = "chat", message = "<img src=x onerror=alert(1)> & \"'\n\0" })
      assert.equal("<img src=x onerror=alert(1)> & \"'\n\0", receive(bob).message)
    end)

    it("confirms a message that has an id", function()
      local ada, bob = ada_and_bob()
      local confirmed = ask(ada, { type = "chat", message = "hi", id = "m-1" })
      local received = receive(bob)
      assert.same({
        type = "delivered", id = "m-1", room = "general", timestamp = received.timestamp,
      },
        confirmed)
      assert.equal("m-1", received.id)
    end)

    it("sends a repeated message only once", function()
      local ada, bob = ada_and_bob()
      local first = ask(ada, { type = "chat", message = "hi", id = "m-1" })
      assert.same(first, ask(ada, { type = "chat", message = "hi", id = "m-1" }))
      assert.equal("hi", receive(bob).message)
      assert_nothing_came(bob)
      ask(bob, { type = "chat", message = "mine", id = "m-1" }) -- another's id is another id
      assert.equal("mine", receive(ada).message)
      assert.equal(2, ask(ada, { type = "server_stats" }).total_messages)
    end)

    it("accepts the longest message, in its longest form in JSON", function()
      local ada, bob = ada_and_bob()
      ada:send_text('{"type":"chat","message":"' .. ("\\ud83d\\ude00"):rep(2000) .. '"}')
      assert.equal(("😀"):rep(2000), receive(bob).message)
    end)

    it("closes after a message that is longer than any may be", function()
      local ada, bob = ada_and_bob()
      ada:send_text('{"type":"chat","message":"' .. ("x"):rep(40000) .. '"}')
      assert.equal(1009, (ada:wait_closed()))
      assert.equal("user_left", receive(bob).type)
    end)
  end)

  describe("rooms", function()
    it("are left and entered, with notices in both", function()
      local ada, bob, ada_welcome = ada_and_bob()
      local carl = enter("username=carl&room=garden")
      local joined = ask(ada, { type = "join_room", room = "garden" })
      assert.same({
        type = "room_joined", connId = ada_welcome.connId, username = "ada", room = "garden",
        server = ada_welcome.server,
      }, joined)
      local notice = { username = "ada", connId = ada_welcome.connId }
      notice.type, notice.room = "user_left", "general"
      assert.same(notice, receive(bob))
      notice.type, notice.room = "user_joined", "garden"
      assert.same(notice, receive(carl))
      say(ada, { type = "chat", message = "green here" })
      assert.equal("garden", receive(carl).room)
      assert_nothing_came(bob)
      assert_nothing_came(ada)
    end)

    it("can be joined twice, without a notice", function()
      local ada, bob = ada_and_bob()
      assert.equal("room_joined", ask(ada, { type = "join_room", room = "general" }).type)
      assert_nothing_came(bob)
      assert.same({ "ada", "bob" }, ask(ada, { type = "list_users" }).users)
    end)

    it("have names within limits", function()
      local ada, bob = ada_and_bob()
      for _, room in ipairs({
        "", ("r"):rep(33), "a b", "<b>", "a\u{200B}", 7, true, cjson.null, {},
      }) do
        local answer = ask(ada, { type = "join_room", room = room })
        assert.same({ "error", "bad_room" }, { answer.type, answer.code })
        assert.is_truthy(answer.error:find("^room m"))
      end
      assert.equal("bad_room", ask(ada, { type = "join_room" }).code)
      assert_nothing_came(bob)
      assert.same({ "ada", "bob" }, ask(ada, { type = "list_users" }).users)
    end)

    it("list their users", function()
      local ada, bob = ada_and_bob()
      assert.same({ type = "user_list", room = "general", users = { "ada", "bob" } },
        ask(bob, { type = "list_users" }))
      ask(bob, { type = "join_room", room = "garden" })
      assert.same({ type = "user_list", room = "garden", users = { "bob" } },
        ask(bob, { type = "list_users" }))
      assert.equal("user_left", receive(ada).type)
      assert.same({ "ada" }, ask(ada, { type = "list_users" }).users)
    end)
  end)

  describe("history", function()
    it("of a room is sent when a user joins it", function()
      local ada, bob = ada_and_bob()
      say(ada, { type = "chat", message = "first" })
      say(ada, { type = "chat", message = "second", id = "m-2" })
      local first, second = receive(bob), receive(bob)
      local carl = enter("username=carl")
      assert.same({ type = "history", room = "general", messages = { first, second } },
        receive(carl))
      assert.equal("user_joined", receive(bob).type)
      ask(bob, { type = "join_room", room = "garden" })
      assert.equal("room_joined", ask(bob, { type = "join_room", room = "general" }).type)
      assert.same({ first, second }, receive(bob).messages)
    end)

    it("has the last 50 messages", function()
      local ada = enter("username=ada")
      for number = 1, 53 do say(ada, { type = "chat", message = tostring(number) }) end
      assert_nothing_came(ada)
      local bob = enter("username=bob")
      local messages = receive(bob).messages
      assert.equal(50, #messages)
      assert.same({ "4", "53" }, { messages[1].message, messages[50].message })
    end)

    it("is the room's own, and outlasts its being empty", function()
      local ada, bob = ada_and_bob()
      say(ada, { type = "chat", message = "here" })
      assert.equal("here", receive(bob).message)
      assert.equal("room_joined", ask(bob, { type = "join_room", room = "garden" }).type)
      assert_nothing_came(bob) -- no history of "general"
      ada:close(1000)
      local carl = enter("username=carl")
      assert.equal("here", receive(carl).messages[1].message)
    end)
  end)

  describe("typing", function()
    it("is sent to the others in the room", function()
      local ada, bob = ada_and_bob()
      for _, typing in ipairs({ true, false }) do
        say(ada, { type = "typing", typing = typing })
        assert.same({ type = "typing", username = "ada", room = "general", typing = typing },
          receive(bob))
      end
      assert_nothing_came(ada)
      assert.equal("bad_typing", ask(ada, { type = "typing" }).code)
      assert_nothing_came(bob)
    end)
  end)

  describe("statistics", function()
    it("count clients, messages and rooms with members", function()
      local ada, bob = ada_and_bob()
      say(ada, { type = "chat", message = "hi" })
      receive(bob)
      ask(bob, { type = "join_room", room = "garden" })
      assert.equal("user_left", receive(ada).type)
      local stats = ask(ada, { type = "server_stats" })
      assert.is_true(math.abs(stats.current_time - os.time()) < 60)
      assert.same({
        type = "server_stats", total_clients = 2, total_messages = 1, total_rooms = 2,
        current_time = stats.current_time,
      }, stats)
      bob:close(1000)
      enter("username=carl") -- ada gets this, so bob's end was handled before
      assert.equal("user_joined", receive(ada).type)
      assert.equal(1, ask(ada, { type = "server_stats" }).total_rooms)
    end)
  end)

  describe("leaving", function()
    for how, leave in pairs({
      ["with a Close frame"] = function(peer) peer:close(1000) end,
      ["without one"] = function(peer) peer:drop() end,
      ["by a reset"] = function(peer) peer:abort() end,
    }) do
      it("is sent to the others: " .. how, function()
        local ada, bob, _, bob_welcome = ada_and_bob()
        leave(bob)
        assert.same({ type = "user_left", username = "bob", room = "general",
          connId = bob_welcome.connId }, receive(ada))
        assert.same({ "ada" }, ask(ada, { type = "list_users" }).users)
        assert.equal(1, ask(ada, { type = "server_stats" }).total_clients)
      end)
    end
  end)

  describe("reconnecting", function()
    it("with the same name and ticket replaces the old connection, without a notice", function()
      local bob = enter("username=bob")
      local old = enter("username=ada&ticket=s3cret&room=garden")
      assert.equal("room_joined", ask(bob, { type = "join_room", room = "garden" }).type)
      assert.equal("user_joined", receive(old).type)
      local new, welcome = enter("username=ada&ticket=s3cret")
      assert.same({ "ada", "garden" }, { welcome.username, welcome.room }) -- where it was
      assert.same({ 4001, "replaced by a newer connection" }, { old:wait_closed() })
      assert.same({ "ada", "bob" }, ask(bob, { type = "list_users" }).users)
      assert.equal(2, ask(bob, { type = "server_stats" }).total_clients)
      say(bob, { type = "chat", message = "still there?" })
      assert.equal("still there?", receive(new).message)
      new:close(1000)
      assert.same({ "user_left", welcome.connId },
        { (function(m) return m.type, m.connId end)(receive(bob)) })
      assert_nothing_came(bob)
    end)

    it("does not replace with another ticket, or none", function()
      local ada = enter("username=ada&ticket=s3cret")
      for _, query in ipairs({ "username=ada&ticket=guess", "username=ada" }) do
        local _, welcome = enter(query)
        assert.is_truthy(welcome.username:find("^ada_%d+$"))
        assert.equal("user_joined", receive(ada).type)
      end
      assert_nothing_came(ada)
      enter("username=carl") -- has no ticket, and no ticket is not the same ticket
      local _, second = enter("username=carl")
      assert.is_not.equal("carl", second.username)
    end)

    it("works many times in a row, with messages in between", function()
      local bob = enter("username=bob")
      local ada = enter("username=ada&ticket=s3cret")
      assert.equal("user_joined", receive(bob).type)
      for round = 1, 20 do
        ask(ada, { type = "chat", message = "round " .. round, id = "m" .. round })
        assert.equal("round " .. round, receive(bob).message)
        local new = enter("username=ada&ticket=s3cret")
        assert.equal(round, #receive(new).messages)
        assert.equal(4001, (ada:wait_closed()))
        ada = new
      end
      assert_nothing_came(bob)
    end)
  end)

  describe("an invalid message", function()
    it("gets an error, and the connection goes on", function()
      local ada, bob = ada_and_bob()
      for text, code in pairs({
        ["hello"] = "not_json",
        ['{"type":"chat"'] = "not_json",
        [""] = "not_json",
        ["7"] = "not_an_object",
        ["null"] = "not_an_object",
        ['"chat"'] = "not_an_object",
        ["[]"] = "unknown_type",
        ["{}"] = "unknown_type",
        ['{"type":"shout"}'] = "unknown_type",
        ['{"type":null}'] = "unknown_type",
        ['{"type":["chat"]}'] = "unknown_type",
        ['{"type":"chat"}'] = "bad_message",
        ['{"type":"chat","message":7}'] = "bad_message",
        ['{"type":"chat","message":null}'] = "bad_message",
        ['{"type":"chat","message":" \\n "}'] = "bad_message",
        ['{"type":"chat","message":"' .. ("é"):rep(2001) .. '"}'] = "bad_message",
        ['{"type":"chat","message":"hi","id":7}'] = "bad_message",
        ['{"type":"chat","message":"hi","id":null}'] = "bad_message",
        ['{"type":"chat","message":"hi","id":""}'] = "bad_message",
        ['{"type":"chat","message":"hi","id":"a b"}'] = "bad_message",
      }) do
        local answer = cjson.decode((ada:ask(text)))
        assert.same({ "error", code }, { answer.type, answer.code }, text)
        assert.is_truthy(answer.error:find("%w"), text)
      end
      assert_nothing_came(bob)
      ada:send_binary("\255")
      assert.equal("not_json", receive(ada).code)
      say(ada, { type = "chat", message = "still here" })
      assert.equal("still here", receive(bob).message)
      assert.equal(1, ask(ada, { type = "server_stats" }).total_messages)
    end)
  end)

  it("serves its page", function()
    for path, kind in pairs({
      ["/"] = "text/html", ["/chat.js"] = "text/javascript", ["/style.css"] = "text/css",
    }) do
      local response = app:http(path)
      assert.equal(200, response.status)
      assert.is_truthy(response.headers["content-type"]:find(kind, 1, true),
        response.headers["content-type"])
      assert.is_nil(response.body:find("https?://"), path .. " names another host")
    end
  end)
end)
