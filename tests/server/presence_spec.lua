-- presence_spec.lua -- the members of a room and their info, for other connections and for watches.

local cjson = require "cjson"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local tw = require "tidewire"
local lobby = tw.room("lobby")
local watch = lobby:watch(function(event, member)
  tw.sleep(0.01) -- it may wait
  record(event, member.name, member.info and member.info.user, tw.worker)
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
    elseif message.act == "watch once" then
      local events, watch = {}, nil
      local function note(event, member)
        events[#events + 1] = { event, member.info }
        watch:cancel()
      end
      watch = tw.room("den"):watch({
        on_join = function(member) note("join", member) end,
        on_leave = function(member) note("leave", member) end,
      })
      conn:join("den", false)
      conn:leave("den")
      conn:join("den")
      -- a later change would be an event of the same turn
      repeat tw.sleep(0.002) until #events > 0
      conn:send(events)
    elseif message.act == "info" then
      conn:join("den", message.info)
      conn:send(tw.room("den"):members())
    elseif message.act == "cancel" then
      conn:send({ watch:cancel(), watch:cancel(), tw.worker })
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

  --- The members whose joins or leaves this worker got, in that order.
  local function members_of(what, worker)
    local users = {}
    for _, event in ipairs(app:events(what)) do
      if event[4] == worker then users[#users + 1] = event[3] end
    end
    return users
  end

  local function check_events(what, users)
    for worker = 0, app.workers - 1 do assert.same(users, members_of(what, worker)) end
  end

  it("returns members with id, name and info", function()
    local _, alone = join("ada")
    assert.equal(1, #alone)
    assert.equal("the door", alone[1].name)
    assert.same({ user = "ada", level = 7 }, alone[1].info)
    local bob, both = join("bob")
    assert.equal(2, #both)
    assert.are_not.equal(both[1].id, both[2].id)
    assert.equal(1, #cjson.decode((bob:ask('{"act":"leave"}'))))
  end)

  it("replaces a member's info when it joins again, and reports no second join", function()
    local ada = join("ada")
    local again = cjson.decode((ada:ask('{"act":"join","level":8}')))
    assert.equal(1, #again)
    assert.equal(8, again[1].info.level)
    ada:ask('{"act":"leave"}')
    app:wait_event("leave", app.workers)
    check_events("join", { "ada" })
    check_events("leave", { "ada" })
  end)

  it("calls watches for each join and each leave, of any kind", function()
    local leaver, closer, failer, dropper = join("leaver"), join("closer"), join("failer"),
      join("dropper")
    app:wait_event("join", 4 * app.workers)
    check_events("join", { "leaver", "closer", "failer", "dropper" })
    leaver:ask('{"act":"leave"}')
    closer:send_text('{"act":"close"}')
    failer:send_text('{"act":"fail"}')
    dropper:abort()
    app:wait_event("leave", 4 * app.workers)
    for _, event in ipairs(app:events("leave")) do assert.equal("the door", event[2]) end
    for worker = 0, app.workers - 1 do
      local left = members_of("leave", worker)
      table.sort(left)
      assert.same({ "closer", "dropper", "failer", "leaver" }, left)
    end
  end)

  it("calls one function or two, and none once it is cancelled", function()
    local ada = app:connect()
    assert.equal('[["join",false]]', (ada:ask('{"act":"watch once"}')))
  end)

  it("returns a member's info of any type", function()
    local ada = app:connect()
    for _, info in ipairs { "false", "null", "0", '""', "[]", '{"a":[null]}', '"\\u0000"' } do
      local members = (ada:ask(('{"act":"info","info":%s}'):format(info)))
      assert.is_truthy(members:find('"info":' .. info, 1, true), members)
    end
  end)

  it("can be watched no more", function()
    local ada = join("ada")
    app:wait_event("join", app.workers)
    local first, second, cancelled = table.unpack(cjson.decode((ada:ask('{"act":"cancel"}'))))
    assert.same({ true, false }, { first, second })
    local bob = join("bob")
    bob:ask('{"act":"leave"}')
    -- It is this worker's watch that is no more.
    if app.workers > 1 then app:wait_event("leave", app.workers - 1) end
    ada:ask('{"act":"leave"}')
    for worker = 0, app.workers - 1 do
      local is_watching = worker ~= cancelled
      assert.same(is_watching and { "ada", "bob" } or { "ada" }, members_of("join", worker))
      if not is_watching then assert.same({}, members_of("leave", worker)) end
    end
  end)
end)
