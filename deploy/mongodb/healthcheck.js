// The health check of MongoDB, run by mongosh: healthy is a primary that takes writes.
// A node that belongs to no replica set yet is made one of its own, so the first check initiates, the others look.
// What throws, or ends otherwise than by running through, is unhealthy.

const replicaSet = { _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] };

try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate(replicaSet);
}

for (let tries = 0; tries < 50 && !db.hello().isWritablePrimary; tries++) sleep(100);
if (!db.hello().isWritablePrimary) throw new Error("no primary");
