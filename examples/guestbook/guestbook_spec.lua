-- guestbook_spec.lua -- the guestbook example with its file: what is written stays through a kill
-- and a restart, and no text becomes a part of a statement.
--
-- tests/browser/guestbook_spec.lua tests the page.

local cjson = require "cjson"
local process = require "support.process"
local server = require "support.server"

local FOLDER = require("luv").cwd() .. "/examples/guestbook/"

if not package.searchpath("luasql.sqlite3", package.cpath) then
  describe("examples/guestbook", function()
    pending("lua-sql-sqlite3 is not installed: nothing of this is tried here")
  end)
  return
end

describe("examples/guestbook", function()
  local folder

  before_each(function() folder = process.make_directory() end)
  after_each(function() process.remove_directory(folder) end)

  local function start(options)
    options = options or {}
    options.app_path = options.app_path or FOLDER .. "app.lua"
    options.environment = { GUESTBOOK_FILE = folder .. "/book.db" }
    return server.start(options)
  end

  local function receive(peer)
    local text, kind, code, reason = peer:receive()
    assert(text, ("no message came: %s %s %s"):format(kind, code, reason))
    return cjson.decode(text)
  end

  local function enter(app)
    local peer = app:connect("/book")
    return peer, receive(peer)
  end

  -- Writes, and returns the message as all clients get it.
  local function write(peer, name, text)
    peer:send_text(cjson.encode({ type = "write", name = name, text = text }))
    local message = receive(peer)
    assert.equal("message", message.type, message.error)
    assert.same({ type = "written", id = message.message.id }, receive(peer))
    return message.message
  end

  local function ask(peer, message)
    peer:send_text(type(message) == "string" and message or cjson.encode(message))
    return receive(peer)
  end

  local function texts_of(messages)
    local texts = {}
    for index, message in ipairs(messages) do texts[index] = message.text end
    return texts
  end

  it("sends what is written to all, and keeps it", function()
    local app <close> = start()
    local ada, page = enter(app)
    assert.same({ type = "newest", messages = {}, more = false }, page)
    local bob = enter(app)
    local message = write(ada, "  ada ", "\n hello,\nbob ")
    assert.same({ "ada", "hello,\nbob" }, { message.name, message.text })
    assert.is_true(math.abs(os.time() - message.time) < 600)
    assert.same({ type = "message", message = message }, receive(bob))
    local _, newest = enter(app)
    assert.same({ type = "newest", messages = { message }, more = false }, newest)
  end)

  it("has every message after a kill, and after a drain", function()
    local app = start({ workers = 3 })
    local ada = enter(app)
    write(ada, "ada", "one")
    write(ada, "ada", "two")
    app:kill() -- what a client has been told is on the disk
    local second <close> = start({ workers = 3 })
    local bob, page = enter(second)
    assert.same({ "two", "one" }, texts_of(page.messages))
    assert.equal(page.messages[1].id + 1, write(bob, "bob", "three").id)
    second:stop()
    local third <close> = start()
    assert.same({ "three", "two", "one" }, texts_of(select(2, enter(third)).messages))
  end)

  it("gives older messages page by page", function()
    local app <close> = start()
    local ada, expected = nil, {}
    for number = 1, 45 do
      if number % 15 == 1 then ada = enter(app) end -- no client may write 45 at once
      table.insert(expected, 1, write(ada, "ada", tostring(number)).text)
    end
    local bob, page = enter(app)
    local all = texts_of(page.messages)
    while page.more do
      assert.equal(20, #page.messages)
      page = ask(bob, { type = "older", before = page.messages[#page.messages].id })
      for _, text in ipairs(texts_of(page.messages)) do all[#all + 1] = text end
    end
    assert.same(expected, all)
    assert.same({ type = "older", messages = {}, more = false },
      ask(bob, { type = "older", before = -1 }))
  end)

  it("keeps texts that look like SQL as they are", function()
    local app <close> = start()
    local ada = enter(app)
    local texts = {
      "it's", "'); DROP TABLE messages; --", "x' || (SELECT name FROM messages) || '", "''", "%s",
      "\\'; --", '"; --', "\u{2019}", "' OR 1=1", "a\n--b", "/* '", ";", "NULL", "0x00", "%d",
    }
    for _, text in ipairs(texts) do
      local name = text:gsub("\n", " ")
      local message = write(ada, name, text)
      assert.same({ name, text }, { message.name, message.text })
    end
    local _, page = enter(app)
    assert.equal(#texts, #page.messages)
    for index, message in ipairs(page.messages) do
      assert.equal(texts[#texts + 1 - index], message.text)
    end
  end)

  it("refuses what is empty, too long, or no text", function()
    local app <close> = start()
    local ada = enter(app)
    local function refused(expected, message)
      assert.same({ type = "error", error = expected }, ask(ada, message))
    end
    local function refused_write(expected, name, text)
      refused(expected, { type = "write", name = name, text = text })
    end
    refused_write("name is empty", " \t", "hello")
    refused_write("text is empty", "ada", "\n ")
    refused_write("name must be text", nil, "hello")
    refused_write("text must be text", "ada", { "hello" })
    refused_write("name must have at most 40 characters, not 41", ("é"):rep(41), "hello")
    refused_write("text must have at most 1000 characters, not 1001", "ada", ("é"):rep(1001))
    refused_write("name has a control character", "a\nda", "hello")
    refused_write("text has a control character", "ada", "a zero: \0.")
    refused("the types are write and older", { type = "wipe" })
    refused("the types are write and older", "[]")
    refused("the types are write and older", "7")
    refused("before must be the id of a message", { type = "older", before = "1 OR 1=1" })
    refused("before must be the id of a message", { type = "older", before = 1.5 })
    ada = enter(app) -- with new tokens of the rate
    assert.same({}, select(2, enter(app)).messages)
    write(ada, ("é"):rep(40), ("é"):rep(1000))
    ada:send_text(cjson.encode({ type = "write", name = "ada", text = ("x"):rep(17000) }))
    assert.equal(1009, (ada:wait_closed()))
  end)
end)
