-- presence_spec.lua -- who is in a room and what is known of them, to others and to those who watch.

local cjson = require "cjson"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local tw = require "tidewire"
local lobby = tw.room("lobby")
local watch = lobby:watch(function(event, member)
  tw.sleep(0.01) -- it may wait
  record(event, member.name, member.info and member.info.user)
end)
return {
  name = "the door",
  codec = "json",
  on_start = function(conn) conn.user = conn.query.user end,
  handle_message = function(conn, message)
    if message.act == "join" then
      conn:join("lobby", { user = conn.user, level = message.level })
      conn:send(lobby:members())
    elseif message.act == "leave" then
      conn:leave("lobby")
      conn:send(lobby:members())
    elseif message.act == "close" then
      conn:close(4000)
    elseif message.act == "fail" then
      error("on purpose")
    elseif message.act == "cancel" then
      conn:send({ watch:cancel(), watch:cancel() })
    end
  end,
}
]]

describe("presence", function()
  local app

  before_each(function() app = server.start({ app = APP }) end)
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  local function join(user)
    local peer = app:connect("/?user=" .. user)
    return peer, cjson.decode((peer:ask(cjson.encode({ act = "join", level = 7 }))))
  end

  it("tells members by id, name and what was said of them", function()
    local _, alone = join("ada")
    assert.equal(1, #alone)
    assert.equal("the door", alone[1].name)
    assert.same({ user = "ada", level = 7 }, alone[1].info)
    local bob, both = join("bob")
    assert.equal(2, #both)
    assert.are_not.equal(both[1].id, both[2].id)
    assert.equal(1, #cjson.decode((bob:ask('{"act":"leave"}'))))
  end)

  it("replaces what was said when a member joins again, and tells nobody that it came twice", function()
    local ada = join("ada")
    local again = cjson.decode((ada:ask('{"act":"join","level":8}')))
    assert.equal(1, #again)
    assert.equal(8, again[1].info.level)
    ada:ask('{"act":"leave"}')
    app:wait_event("leave")
    assert.equal(1, #app:events("join"))
  end)

  it("tells those who watch of everyone who comes and goes, however they go", function()
    local leaver, closer, failer, dropper = join("leaver"), join("closer"), join("failer"), join("dropper")
    app:wait_event("join", 4)
    leaver:ask('{"act":"leave"}')
    closer:send_text('{"act":"close"}')
    failer:send_text('{"act":"fail"}')
    dropper:abort()
    app:wait_event("leave", 4)
    local left = {}
    for _, event in ipairs(app:events("leave")) do
      assert.equal("the door", event[2])
      left[#left + 1] = event[3]
    end
    table.sort(left)
    assert.same({ "closer", "dropper", "failer", "leaver" }, left)
  end)

  it("can be watched no more", function()
    local ada = join("ada")
    app:wait_event("join")
    assert.same({ true, false }, cjson.decode((ada:ask('{"act":"cancel"}'))))
    local bob = join("bob")
    bob:ask('{"act":"leave"}')
    assert.equal(1, #app:events("join"))
    assert.equal(0, #app:events("leave"))
  end)
end)
