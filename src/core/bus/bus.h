/* bus.h -- the row of all doors: how the workers of a process reach each other.
 *
 * Each worker has a mailbox, its one door for what comes from others: a counted message for a room,
 * for everyone or for one connection, and the news that somebody joined or left. Beside the doors
 * the bus keeps what all must agree on: who is in which room (directory.h), which connections there
 * are, and how many places an endpoint has left.
 *
 * Each worker activates new code in its own time, and an endpoint may have another codec there than
 * in a worker that has not yet. A message is encoded for each receiver by the codec that its
 * endpoint has on its worker.
 *
 * One lock orders it all. A publish takes the publisher's own mail out in the same step in which it
 * is put into the others' doors, and so does a join or a leave: every worker sees broadcasts, joins
 * and leaves in one order, as if there were one worker. It is held for a few look-ups, never while
 * scripts run or sockets are written. With one worker nothing of this is needed, and no lock is
 * taken.
 *
 * Any thread may call; each call says which worker it comes from. Knows hubs only by the number of
 * their worker. */
#ifndef TIDEWIRE_CORE_BUS_BUS_H
#define TIDEWIRE_CORE_BUS_BUS_H

#include "base/limit.h"
#include "core/bus/broadcast.h"
#include "core/bus/directory.h"
#include "core/bus/mailbox.h"
#include "core/bus/stats.h"

#include <stdbool.h>
#include <stddef.h>

enum { BUS_MAX_WORKERS = DIRECTORY_MAX_WORKERS };

struct bus;

/* A bus of one worker. */
struct bus *bus_new(void);
/* Every worker must have left. Accepts NULL. */
void bus_free(struct bus *bus);

/* There will be so many. Call it before the second one enters and before anyone connects. */
void bus_set_workers(struct bus *bus, unsigned count);
unsigned bus_workers(const struct bus *bus);

/* A worker opens its door. `wake` is called, by any thread and with no lock of the bus held, when
 * mail comes into an empty mailbox; NULL: nobody waits. `stats` may be read until bus_free(). */
void bus_enter(struct bus *bus, unsigned worker, void (*wake)(void *user), void *user,
               const struct stats *stats);
/* It closes it: `wake` is called no more, mail that waits or still comes is dropped. */
void bus_leave(struct bus *bus, unsigned worker);

/* ---- mail ---- */

/* Is there mail? Takes no lock. */
bool bus_has_mail(const struct bus *bus, unsigned worker);
/* All mail of a worker, oldest first, or NULL. The caller frees each with mail_free(). */
struct mail *bus_take_mail(struct bus *bus, unsigned worker);

/* So many bytes may wait at each door; 64 MiB without. What comes beyond is lost, and the mail
 * tells for whom (mailbox.h). Who joined and left is not lost before as much again waits. */
void bus_set_mail_max(struct bus *bus, size_t bytes);

/* ---- rooms ---- */

/* Hands each encoding to the other workers that have receivers of it. The messages stay the
 * caller's. `*others`: how many connections that are, without those whose worker's mailbox is full.
 * Answers the worker's own mail from before, which must be delivered before its own connections get
 * the message. Where `missing`, empty before, has something in it afterwards, somebody of any
 * worker has a codec that there is no encoding for, and nothing was handed to anyone. */
struct mail *bus_publish(struct bus *bus, unsigned worker, const struct broadcast *broadcast,
                         uint32_t *others, struct codec_list *missing);

/* A connection enters a room: see directory_join(). Answers the mail that must be delivered before
 * the worker's own room has it in. */
struct mail *bus_join(struct bus *bus, unsigned worker, struct slice room, conn_id id,
                      uint32_t endpoint, const char *name, struct slice info,
                      struct room_entry **presence);
/* It leaves. `*mail`: the mail that must be delivered while the worker's own room still has it in;
 * whoever watches on this worker is told by the caller. NULL: no mail is taken, and this worker is
 * told by mail as the others are. */
void bus_leave_room(struct bus *bus, unsigned worker, struct room_entry *presence, conn_id id,
                    struct mail **mail);
/* Replaces what is said of it. */
struct room_entry *bus_set_info(struct bus *bus, struct room_entry *presence, struct slice info);

/* This worker wants to hear who joins and leaves (MAIL_PRESENCE_CHANGED from others), or no more.
 * */
void bus_watch(struct bus *bus, unsigned worker, struct slice room, bool on);

uint32_t bus_room_size(struct bus *bus, struct slice room);
/* The codecs that its members have. */
void bus_room_codecs(struct bus *bus, struct slice room, struct codec_list *list);
/* f must not call the bus. */
void bus_room_members(struct bus *bus, struct slice room,
                      void (*f)(void *user, conn_id id, const char *name, const char *info),
                      void *user);

/* ---- connections ---- */

/* A connection of this worker is there for others from now on, until bus_withdraw(). Answers the
 * mail that must be delivered before it is open. */
struct mail *bus_announce(struct bus *bus, unsigned worker, conn_id id, uint32_t endpoint);
void bus_withdraw(struct bus *bus, unsigned worker, conn_id id);
/* The codec that a connection of any worker has. False: it is not there. */
bool bus_codec_of(struct bus *bus, conn_id id, uint32_t *codec);
/* Hands a message to the worker of a connection. The message stays the caller's. BUS_NOBODY: the
 * connection is not there, or it is about to be closed, as its endpoint has not this codec any
 * more. BUS_LOST: that worker's mailbox is full, and the connection, of `*endpoint`, is dealt
 * with as a slow client. */
enum bus_result { BUS_SENT, BUS_NOBODY, BUS_LOST };
enum bus_result bus_send(struct bus *bus, conn_id id, uint32_t codec, struct message *message,
                         uint32_t *endpoint);

/* Lets the worker of a connection close it, behind what was sent to it before, and sends it no
 * more. False: it is not there, or one worker has done so already. */
bool bus_close(struct bus *bus, conn_id id, unsigned code, struct slice reason);

/* The places of the endpoint with this number, the same for all workers; `max` (0: no limit) counts
 * from the first who asks. The codec is what the endpoint has on this worker. */
struct limit *bus_endpoint_limit(struct bus *bus, unsigned worker, uint32_t endpoint, uint32_t max,
                                 uint32_t codec);

/* True for the first who asks this of an endpoint: what is said once and not by each worker. */
bool bus_is_first(struct bus *bus, uint32_t endpoint);

/* An endpoint has this codec on this worker from now on. Returns the mail from before, which was
 * encoded by the old one: deliver it first. */
struct mail *bus_set_codec(struct bus *bus, unsigned worker, uint32_t endpoint, uint32_t codec);

/* How many connections a worker has. */
uint64_t bus_connections(struct bus *bus, unsigned worker);
/* What all workers together have counted. */
void bus_total(struct bus *bus, struct stats_total *total);

#endif
