-- app.lua -- guestbook: messages in SQLite, which outlive the server; with a page.
--
-- Run:   scripts/run examples/guestbook/app.lua       needs lua-sql-sqlite3 (Debian, Ubuntu)
--        GUESTBOOK_FILE=/var/lib/guestbook.db scripts/run examples/guestbook/app.lua
-- See:   http://127.0.0.1:8080/          in two windows
-- Type:  scripts/run talk ws://127.0.0.1:8080/book
--        {"type":"write","name":"ada","text":"it's nice here"}
--        {"type":"older","before":1}
-- Break: end the server with Ctrl-C or kill -9, and start it again: every message is there.
-- Edit:  book.lua, and reload (kill -HUP its pid): the pool loads it anew.
--
-- Without the pool each message would hold up all connections of its worker until the disk has it,
-- which takes 0.6 ms on a fast one, and for up to five seconds while another program writes into
-- the file.
--
-- Clients get
--   {"type":"newest","messages":[…],"more":true}     on connecting; newest first. more: older exist
--   {"type":"older","messages":[…],"more":false}     the answer to "older"
--   {"type":"message","message":{"id":7,"name":"ada","text":"…","time":1790000000}}
--   {"type":"written","id":7}                        the answer to "write": the disk has it
--   {"type":"error","error":"text is empty"}
--
-- The file is shared by all threads and workers, so the example runs with any number of workers.

local check = require "check"
local tw = require "tidewire"

local PAGE = 20 -- messages at once

local book = tw.pool("book", { threads = 2 }) -- one may wait for the disk while the other reads
local room = tw.room("guestbook")

-- What the pool's function returns, or nothing: then the client has got an error.
local function ask(conn, name, ...)
  local result, problem = book:call(name, ...)
  if result == nil then
    tw.log.error("no answer of the guestbook", { call = name, why = problem })
    conn:send({ type = "error", error = "the guestbook cannot be reached: try again later" })
  end
  return result
end

local function send_page(conn, kind, before)
  local messages = ask(conn, "page", before, PAGE + 1)
  if not messages then return end
  local more = #messages > PAGE
  messages[PAGE + 1] = nil
  conn:send({ type = kind, messages = tw.array(messages), more = more })
end

local commands = {}

function commands.write(conn, message)
  local name, text = check.trim(message.name), check.trim(message.text)
  local problem = check.name(name) or check.text(text)
  if problem then return conn:send({ type = "error", error = problem }) end
  local written = ask(conn, "add", name, text, os.time())
  if not written then return end
  room:broadcast({ type = "message", message = written })
  conn:send({ type = "written", id = written.id })
end

function commands.older(conn, message)
  if math.type(message.before) ~= "integer" then
    return conn:send({ type = "error", error = "before must be the id of a message" })
  end
  send_page(conn, "older", message.before)
end

return {
  endpoints = {
    ["/book"] = {
      codec = "json",
      max_message_size = "16K",
      rate = { messages = 5, per = 1, burst = 20 },

      -- In the room first: no message is missed. One that is written meanwhile comes twice, with
      -- the same id.
      on_start = function(conn)
        conn:join(room.name)
        send_page(conn, "newest")
      end,

      handle_message = function(conn, message)
        local command = type(message) == "table" and commands[message.type]
        if not command then
          return conn:send({ type = "error", error = "the types are write and older" })
        end
        command(conn, message)
      end,
    },
  },
  http = { ["/"] = { static = "public" } },
}
