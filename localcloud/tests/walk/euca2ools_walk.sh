#!/usr/bin/env bash
# A walk through the services with the genuine euca2ools, as a user of Eucalyptus types it. No region is named: the tools
# then sign with one of their own making, `undefined-PID`. Each answer is looked at.
#
#   euca2ools_walk.sh DIRECTORY_OF_THE_TOOLS BASE_URL        (credentials in the environment)
set -euo pipefail
tools=$1 base=$2
unset AWS_DEFAULT_REGION AWS_AUTH_REGION EUCA_DEFAULT_REGION
export EC2_URL=$base/services/compute AWS_ELB_URL=$base/services/LoadBalancing AWS_AUTO_SCALING_URL=$base/services/AutoScaling \
  AWS_CLOUDWATCH_URL=$base/services/CloudWatch AWS_IAM_URL=$base/services/Euare TOKEN_URL=$base/services/Tokens
export PATH=$tools:$PATH
HOME=$(mktemp -d)
trap 'rm -rf "$HOME"' EXIT
export HOME

# expect WORDS COMMAND...: what the command prints, which must hold the words.
expect() {
  local wanted=$1 said
  shift
  said=$("$@" 2>&1) || wanted="success"
  case $said in
    *"$wanted"*) printf '%s\n' "$said" ;;
    *)
      printf '%s\nsaid: %s\nwanted: %s\n' "$*" "$said" "$wanted" >&2
      exit 1
      ;;
  esac
}

until_it_says() {
  local wanted=$1
  shift
  for _ in $(seq 100); do
    case $("$@" 2>&1) in *"$wanted"*) return ;; esac
  done
  printf '%s\nnever said: %s\n' "$*" "$wanted" >&2
  exit 1
}

refuse() {
  local wanted=$1 said
  shift
  if said=$("$@" 2>&1); then
    printf '%s was not refused\n' "$*" >&2
    exit 1
  fi
  case $said in
    *"error ($wanted)"*) ;;
    *)
      printf '%s\nsaid: %s\nwanted: error (%s)\n' "$*" "$said" "$wanted" >&2
      exit 1
      ;;
  esac
}

walk_ec2() {
  expect "REGION	localcloud" euca-describe-regions
  zone=$(expect AVAILABILITYZONE euca-describe-availability-zones | cut -f2)
  image=$(expect IMAGE euca-describe-images | awk '/^IMAGE/ { print $2 }')
  expect "INSTANCETYPE	t3.micro" euca-describe-instance-types
  expect " / " euca-describe-instance-types --show-capacity t3.micro
  expect "KEYPAIR	walk" euca-create-keypair walk -f "$HOME/walk.pem"
  expect "GROUP	sg-" euca-create-group -d walk walk
  expect "22	22	FROM	CIDR	0.0.0.0/0" euca-authorize -P tcp -p 22 -s 0.0.0.0/0 walk
  instance=$(expect INSTANCE euca-run-instances -k walk -g walk -t t3.micro "$image" | awk '/^INSTANCE/ { print $2 }')
  until_it_says running euca-describe-instances "$instance"
  expect "INSTANCESTATUS	reachability	passed" euca-describe-instance-status "$instance"
  expect t3.micro euca-describe-instance-attribute "$instance" -t
  expect "TAG	instance	$instance	walk	yes" euca-create-tags "$instance" --tag walk=yes
  expect "$instance" euca-describe-instances --filter tag:walk=yes
  volume=$(expect VOLUME euca-create-volume -s 1 -z "$zone" | awk '/^VOLUME/ { print $2 }')
  until_it_says available euca-describe-volumes "$volume"
  expect attaching euca-attach-volume -i "$instance" -d /dev/vdf "$volume"
  until_it_says attached euca-describe-volumes "$volume"
  snapshot=$(expect SNAPSHOT euca-create-snapshot "$volume" | awk '/^SNAPSHOT/ { print $2 }')
  until_it_says completed euca-describe-snapshots "$snapshot"
  expect detaching euca-detach-volume "$volume"
  address=$(expect eipalloc- euca-allocate-address -d vpc | cut -f2)
  expect "$address	$instance" euca-associate-address -i "$instance" "$address"
  expect "$address" euca-disassociate-address "$address"
  expect "$address" euca-release-address "$address"
  expect stopping euca-stop-instances "$instance"
  until_it_says stopped euca-describe-instances "$instance"
  expect pending euca-start-instances "$instance"
  until_it_says running euca-describe-instances "$instance"
  expect default-vpc euca-describe-account-attributes
  refuse InvalidInstanceID.NotFound euca-describe-instances i-0123456789abcdef0
}

walk_elb() {
  local listener="lb-port=8098, protocol=http, instance-port=80, instance-protocol=http"
  expect walk- eulb-create-lb walk -z "$zone" -l "$listener"
  expect HTTP:80/index.html eulb-configure-healthcheck walk --healthy-threshold 2 --unhealthy-threshold 2 \
    --interval 5 --timeout 2 -t HTTP:80/index.html
  expect "" eulb-create-lb-cookie-stickiness-policy walk -e 60 -p sticky
  expect "" eulb-set-lb-policies-of-listener walk -l 8098 -p sticky
  expect sticky eulb-describe-lbs --show-long walk
  expect "$instance" eulb-register-instances-with-lb walk --instances "$instance"
  expect "$instance" eulb-describe-instance-health walk
  expect "" eulb-create-tags --tag walk=yes walk
  expect yes eulb-describe-tags walk
  refuse LoadBalancerNotFound eulb-describe-instance-health nobody
}

walk_autoscaling() {
  expect "" euscale-create-launch-config walk -i "$image" -t t3.micro
  expect "" euscale-create-auto-scaling-group walk -l walk -m 1 -M 3 --desired-capacity 1 -z "$zone" --load-balancers walk
  until_it_says InService euscale-describe-auto-scaling-instances
  policy=$(expect arn: euscale-put-scaling-policy out -g walk -a 1 -t ChangeInCapacity)
  expect "" euscale-execute-policy out -g walk
  expect out euscale-describe-policies -g walk
  expect "Successful" euscale-describe-scaling-activities -g walk
  expect "" euscale-put-scheduled-update-group-action night -g walk --recurrence "0 3 * * *" --desired-capacity 1
  expect night euscale-describe-scheduled-actions -g walk
  expect "" euscale-suspend-processes walk
  expect "" euscale-resume-processes walk
  expect "" euscale-update-auto-scaling-group walk -m 0 -M 2
  refuse ValidationError euscale-set-desired-capacity nobody -c 1
}

walk_cloudwatch() {
  expect "" euwatch-put-data -m Steps -n Walk -v 5 -u Count
  expect Steps euwatch-list-metrics -n Walk
  expect "" euwatch-put-metric-alarm walk --metric-name Steps --namespace Walk --statistic Average --period 60 \
    --evaluation-periods 1 --threshold 5 --comparison-operator GreaterThanThreshold --alarm-actions "$policy"
  expect "$policy" euwatch-describe-alarms walk
  expect "" euwatch-set-alarm-state walk --state-value ALARM --state-reason "a walk"
  expect "updated from" euwatch-describe-alarm-history walk
  expect "" euwatch-get-stats Steps -n Walk -s Average,Sum
  refuse ResourceNotFound euwatch-set-alarm-state nobody --state-value OK --state-reason "a walk"
  expect "" euwatch-delete-alarms walk
}

walk_iam() {
  expect :root euare-getcallerid
  expect "" euare-usercreate -u walker
  expect AKIA euare-useraddkey -u walker
  expect "" euare-useraddpolicy -u walker -p look -e Allow -a 'ec2:Describe*' -r '*'
  expect look euare-userlistpolicies -u walker
  expect "" euare-groupcreate -g walkers
  expect "" euare-groupadduser -g walkers -u walker
  expect walker euare-grouplistusers -g walkers
  expect "" euare-rolecreate -r guide -s ec2.amazonaws.com
  expect "" euare-instanceprofilecreate -s guide
  expect "" euare-instanceprofileaddrole -s guide -r guide
  expect guide euare-instanceprofilelistforrole -r guide
  expect "" euare-instanceprofileremoverole -s guide -r guide
  expect "" euare-instanceprofiledel -s guide
  expect "" euare-roledel -r guide
  expect "" euare-userdel -u walker -R
  expect "" euare-groupdel -g walkers
  refuse NoSuchEntity euare-usergetattributes -u walker
}

leave() {
  expect "" euscale-delete-auto-scaling-group walk --force-delete
  expect "" eulb-delete-lb walk
  expect shutting-down euca-terminate-instances "$instance"
}

for part in walk_ec2 walk_elb walk_autoscaling walk_cloudwatch walk_iam leave; do
  $part >/dev/null
done
echo walked
