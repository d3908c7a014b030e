-- views.lua -- compares what the nodes tell of members, users, watches and memories with what the
-- judge knows, and with each other.

local loop = require "support.loop"

local player = require "cluster.player"

local views = {}

local WATCHED <const> = { r1 = true, r2 = true, h1 = true, k1 = true }

-- Room -> conn.id -> its player.
local function expected_members(judge)
  local rooms = {}
  for _, room in ipairs(judge.rooms) do rooms[room] = {} end
  for _, each in ipairs(judge.players) do
    for room in pairs(each.rooms) do if each.id then rooms[room][each.id] = each end end
  end
  return rooms
end

local function name_of(judge, id)
  local who = judge.by_id[id]
  return ("%s (%s)"):format(id, who and ("%s, now %s on node %s"):format(who.tag,
    who.id == id and "this" or tostring(who.id), who.node) or "unknown")
end

-- What is wrong with a room on a node, or nil.
local function compare_room(judge, node, room, expected)
  local view, problem = node:get("/room?room=" .. room)
  if not view then return "no answer: " .. problem end
  local count = 0
  for id, each in pairs(expected) do
    count = count + 1
    local member = view.members[id]
    if not member then
      if room:find("^q") then goto continue end
      return ("%s is missing"):format(name_of(judge, id))
    end
    if member.info ~= each.rooms[room].info or member.user ~= each.user
      or member.name ~= each.kind.path then
      return ("%s has info %s, user %s, name %s, and should have %s, %s, %s"):format(
        name_of(judge, id), member.info, member.user, member.name, each.rooms[room].info, each.user,
        each.kind.path)
    end
    if WATCHED[room] and each.rooms[room].at > node.started_at and view.watched[id] ~= "join" then
      return ("the watch says of %s: %s"):format(name_of(judge, id), view.watched[id] or "nothing")
    end
    ::continue::
  end
  for id in pairs(view.members) do
    if not expected[id] then return ("%s is no member"):format(name_of(judge, id)) end
  end
  for id, what in pairs(view.watched) do
    if what == "join" and not expected[id] then
      return ("the watch does not say that %s has left"):format(name_of(judge, id))
    end
  end
  if not room:find("^q") and view.size ~= count then
    return ("size is %d, and there are %d"):format(view.size, count)
  end
end

local function compare_user(judge, node, name)
  local view, problem = node:get("/user?name=" .. name)
  if not view then return "no answer: " .. problem end
  local ids = {}
  for _, each in ipairs(judge.players) do
    if each.user == name and each.id then ids[#ids + 1] = each.id end
  end
  table.sort(ids)
  local is, should = table.concat(view.ids, " "), table.concat(ids, " ")
  if is ~= should then return ("connections are %s, and should be %s"):format(is, should) end
  if view.online ~= (#ids > 0) then return "online is " .. tostring(view.online) end
end

--- Members, users and watches of all nodes become right until that time.
---@param judge cluster.judge
---@param deadline number
function views.check_members(judge, deadline)
  local began = loop.now()
  local questions = {}
  for _, node in ipairs(judge.nodes) do
    for _, room in ipairs(judge.rooms) do
      table.insert(questions, { node = node, what = room, f = function()
        return compare_room(judge, node, room, expected_members(judge)[room])
      end })
    end
    for name in pairs(judge.users) do
      table.insert(questions, { node = node, what = name, f = function()
        return compare_user(judge, node, name)
      end })
    end
  end
  local wrong
  repeat
    wrong = {}
    for _, question in ipairs(questions) do
      question.problem = question.f()
      if question.problem then wrong[#wrong + 1] = question end
    end
    questions = wrong
    if #wrong > 0 then loop.pass(0.2) end
  until #wrong == 0 or loop.now() > deadline
  judge.members_last = loop.now() - began
  judge.members_seconds = math.max(judge.members_seconds, judge.members_last)
  for i, question in ipairs(wrong) do
    if i > 10 then break end
    judge:fault("members are wrong %.1f s after the last fault: node %d, %s: %s",
      loop.now() - deadline + 13, question.node.number, question.what, question.problem)
  end
end

local function text_of(memory)
  local lines = { ("%s %s"):format(memory.epoch or "-", memory.offset or "-") }
  for _, entry in ipairs(memory.list) do
    lines[#lines + 1] = ("%s %s"):format(entry.offset, entry.payload:sub(1, 60))
  end
  return lines
end

-- The first difference of two lists.
local function difference(one, other)
  for i = 1, math.max(#one, #other) do
    if one[i] ~= other[i] then
      return ("line %d: %s, %s"):format(i, one[i] or "nothing", other[i] or "nothing")
    end
  end
end

local function check_memory(judge, room, memory)
  local before
  local index, last = {}, {}
  for i, entry in ipairs(memory.list) do
    if before and entry.offset ~= before + 1 then
      judge:fault("the memory of %s has offset %s after %s", room, entry.offset, before)
    end
    before = entry.offset
    local key = entry.payload:match("^m (%S+ %S+ %d+)")
    if not key then
      judge:fault("the memory of %s has %s", room, entry.payload:sub(1, 60))
    elseif index[key] then
      judge:fault("the memory of %s has %s twice: at %d and %d", room, key,
        memory.list[index[key]].offset, entry.offset)
    end
    index[key or ""] = i
    if entry.key then last[entry.key] = entry.payload end
  end
  for key, payload in pairs(last) do
    if memory.retained[key] ~= payload then
      judge:fault("%s retains %s for %s; the last message is %s", room,
        tostring(memory.retained[key]):sub(1, 60), key, payload:sub(1, 60))
    end
  end
  if room:find("^s") then return end
  local missing = 0
  for key, message in pairs(judge.model.messages) do
    if message.channel == room and not index[key] and not message.failed
      and (message.acked or message.elsewhere)
      and not judge.model:in_fault(message.sent, message.acked or message.sent, nil, "is_lossy")
      and (message.elsewhere or not judge.model:in_fault(message.sent, message.acked,
        { [message.node] = true }, "kills")) then
      missing = missing + 1
      if missing < 4 then
        judge:fault("the memory of %s lacks %s, of node %d, published at %.2f", room, key,
          message.node, message.sent - judge.began)
      end
    end
  end
end

--- The memories of all nodes are equal, and have what was said.
---@param judge cluster.judge
function views.check_memories(judge)
  for _, room in ipairs(judge.rooms) do
    if player.is_history(room) then
      local first, first_text
      for _, node in ipairs(judge.nodes) do
        local memory, problem = node:get("/history?room=" .. room)
        if not memory then
          judge:fault("node %d tells no memory of %s: %s", node.number, room, problem)
        elseif not first then
          first, first_text = memory, text_of(memory)
        else
          local found = difference(first_text, text_of(memory))
          if found then
            judge:fault("the memories of %s on node 1 and %d differ: %s", room, node.number, found)
          end
          for key, payload in pairs(first.retained) do
            if memory.retained[key] ~= payload then
              judge:fault("%s retains for %s: %s on node 1, %s on node %d", room, key,
                payload:sub(1, 60), tostring(memory.retained[key]):sub(1, 60), node.number)
            end
          end
        end
      end
      if first then check_memory(judge, room, first) end
    end
  end
end

return views
